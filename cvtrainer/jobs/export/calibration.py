"""A fixed sample of the training data, for the ranges of 8-bit numbers.

Each class gives its share, the same files every time; they go through the input spec, as whatever
the artefact will see does. Nothing of the evaluation split is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.data.pipeline import SPOILED
from cvtrainer.deploy.contract import TAKES
from cvtrainer.jobs.export.stratified import stratified
from cvtrainer.jobs.export.validation import picture_bytes, picture_inputs, record_of
from cvtrainer.jobs.load import Trained

_BATCH = 16


def calibration_sample(
    trained: Trained, spec: InputSpec, count: int, takes: str = TAKES[0]
) -> Iterator[Tensor]:
    """Batches of prepared pictures, `count` in all where there are so many, as a graph `takes`
    them."""
    stage = trained.stage
    block = (stage.get("dataloader") or {}).get("train")
    if not block:
        raise UserError(
            "8-bit numbers are calibrated on training data, and there is none",
            where=f"stages.{stage['name']}.dataloader",
            todo="Give the train split.",
        )
    dataset: Any = trained.experiment.data.dataset(block, "train", trained.classes)
    chosen = stratified(getattr(dataset, "labels", None), len(dataset), count)
    rows: list[NDArray[Any]] = []
    for number in chosen:
        record = record_of(dataset, int(number))
        try:
            data = picture_bytes(record, spec.name)
            rows.append(picture_inputs(data, _name(record), spec, takes))
        except SPOILED:  # a file that training passed over, too
            continue
        if len(rows) == (1 if takes == "picture" else _BATCH):
            yield torch.from_numpy(np.stack(rows))
            rows = []
    if rows:
        yield torch.from_numpy(np.stack(rows))


def _name(record: Mapping[str, Any]) -> str:
    return str((record.get("meta") or {}).get("path", "a training sample"))
