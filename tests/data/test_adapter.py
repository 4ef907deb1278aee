"""A user's own data set: two methods, and what comes back is a whole sample."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data import DataAdapter
from cvtrainer.data.opening import FilePixels, open_record
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.sample import as_sample
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import ImageTensorizer, IndexTensorizer, Tensorizer


class Noise(DataAdapter):
    """The ten lines that a user writes; it even draws from the global generators."""

    def __len__(self) -> int:
        return 12

    def _load_sample(self, idx: int) -> dict[str, Any]:
        picture = np.random.randint(0, 256, (8, 8, 3), dtype=np.uint8)
        bright = torch.rand(()).item() * random.random()
        return {"x": picture, "target": {"class_id": idx % 3}, "bright": np.float32(bright)}


@pytest.mark.seed("S0-70")
def test_an_adapter_of_ten_lines_serves_batches() -> None:
    tensorizer = Tensorizer(
        {"x": ImageTensorizer(), "class_id": IndexTensorizer(3)}, unmapped="pass"
    )
    stream = LoaderStream(Parts(Noise(), tensorizer=tensorizer), seed=1, options={"batch_size": 4})
    batches = list(stream.epoch(1))
    assert [b["x"].shape for b in batches] == [(4, 3, 8, 8)] * 3
    assert batches[0]["target"]["class_id"].tolist() == [0, 1, 2, 0]
    assert batches[0]["meta"]["index"] == [0, 1, 2, 3]
    assert batches[0]["meta"]["path"][2] == "Noise[2]"


def test_global_draws_are_a_function_of_the_sample_and_leave_no_trace() -> None:
    def first(epoch: int, start: int = 0) -> Any:
        stream = LoaderStream(Noise(), seed=5, options={"batch_size": 4})
        return next(iter(stream.epoch(epoch, start=start)))

    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    a = first(1)
    after = (torch.rand(()).item(), np.random.rand(), random.random())
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    assert after == (torch.rand(()).item(), np.random.rand(), random.random())
    b = first(1)
    assert torch.equal(a["x"], b["x"])
    assert torch.equal(a["bright"], b["bright"])
    assert not torch.equal(a["x"], first(2)["x"])
    assert len({float(v) for v in a["bright"]}) == 4


def test_an_adapter_without_its_methods_cannot_be_made() -> None:
    class Half(DataAdapter):
        def __len__(self) -> int:
            return 1

    with pytest.raises(TypeError, match="_load_sample"):
        Half()  # type: ignore[abstract]


def test_numbers_outside_are_refused() -> None:
    with pytest.raises(IndexError, match="Noise has no sample 12"):
        Noise()[12]


def test_pairs_and_pillow_pictures_become_samples() -> None:
    sample = open_record(as_sample((Image.new("L", (4, 3), 7), 2), 5, "Set"), FilePixels())
    assert sample["x"].shape == (3, 4, 3)
    assert sample["target"] == {"class_id": 2}
    assert sample["meta"] == {"index": 5, "path": "Set[5]"}
    with pytest.raises(UserError, match=r"Set\[5\]: a sample must be a dict"):
        as_sample(3, 5, "Set")
