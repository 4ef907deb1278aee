"""The size of a stage's inputs where its config leaves it to the data.

Evaluation without a resize gives pictures as large as they are, so the network takes whatever the
evaluation split holds. That size goes into the checkpoint: prediction and export fit to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cvtrainer.core.input_of_stage import evaluation_block, known_input
from cvtrainer.data.decode import image_size
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import as_sample
from cvtrainer.protocols import Stream

_TRIED = 8
"""Samples that are looked at until one can be read."""


def input_size(stage: Mapping[str, Any], streams: Mapping[str, Stream]) -> list[int] | None:
    """Height and width, of the first picture that can be read; None where the config says it.

    A data set that may draw at random is not asked: that would change what it draws in training.
    """
    spec = known_input(stage, None)
    if spec is None or spec.size is not None:
        return None
    block = evaluation_block(stage)
    loaders = stage.get("dataloader") or {}
    stream: Any = next((streams.get(name) for name in loaders if loaders[name] is block), None)
    dataset: Any = getattr(stream, "dataset", None)
    if dataset is None or getattr(dataset, "draws_randomly", True):
        return None
    record = getattr(dataset, "record", None) or dataset.__getitem__
    for number in range(min(_TRIED, len(dataset))):
        try:
            sample = as_sample(record(number), number, type(dataset).__name__)
            height, width = _size_of(sample.get(spec.name, sample.get("image")))
        except Exception:  # a sample that evaluation will name and pass over
            continue
        return list(spec.result(height, width))
    return None


def _size_of(value: Any) -> tuple[int, int]:
    if isinstance(value, Encoded):
        return image_size(value.read(), value.name)
    height, width = np.shape(value)[:2]
    return height, width
