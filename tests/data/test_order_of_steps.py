"""Transforms, tensorizer and collate are separate steps, and come in that order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.data import DataAdapter
from cvtrainer.data.collate import collate
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import Tensorizer
from cvtrainer.data.transforms import Transforms


@pytest.mark.seed("S0-71", "S0-33")
def test_a_probe_in_each_step_logs_the_order() -> None:
    log: list[str] = []

    class Source(DataAdapter):
        def __len__(self) -> int:
            return 2

        def _load_sample(self, idx: int) -> dict[str, Any]:
            log.append(f"load {idx}")
            return {"x": np.zeros((2, 2, 3), np.uint8)}

    def first(sample: dict[str, Any]) -> dict[str, Any]:
        assert isinstance(sample["x"], np.ndarray)
        log.append("transform 1")
        return sample

    def second(sample: dict[str, Any]) -> dict[str, Any]:
        log.append("transform 2")
        return sample

    def to_tensor(value: Any) -> torch.Tensor:
        log.append("tensorizer")
        return torch.from_numpy(value)

    def join(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        assert all(isinstance(sample["x"], torch.Tensor) for sample in samples)
        log.append("collate")
        return collate(samples)

    stream = LoaderStream(
        Parts(
            Source(),
            transforms=Transforms("Albumentations", [first, second]),
            tensorizer=Tensorizer({"x": to_tensor}),
        ),
        options={"batch_size": 2, "collate_fn": join},
    )
    (batch,) = stream.epoch(1)
    each = ["transform 1", "transform 2", "tensorizer"]
    assert log == ["load 0", *each, "load 1", *each, "collate"]
    assert batch["x"].shape == (2, 2, 2, 3)
