"""Rows of a batch: a sample's tensor is made where the batch will be, or copied there as ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cvtrainer.data.batch_memory import BatchRows, sample_tensor
from cvtrainer.data.collate import collate
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.sample import BadSample
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import ImageTensorizer, Tensorizer

SIDE = 80


class Pictures:
    """Pictures in memory, each known by its value; some are of another size, some are bad."""

    thread_safe = True
    draws_randomly = False

    def __init__(self, *, odd: Sequence[int] = (), bad: Sequence[int] = (), two: bool = False):
        self.odd, self.bad, self.two = odd, bad, two
        self.whole = torch.arange(20, dtype=torch.uint8).repeat_interleave(SIDE * SIDE * 3)
        self.whole = self.whole.view(20, SIDE, SIDE, 3)

    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> dict[str, Any]:
        pixels = self.whole[number].numpy()
        found = {"x": pixels[:-8] if number in self.odd else pixels, "late": number}
        return {**found, "pair": 200 - pixels} if self.two else found


def check(bad: Sequence[int]) -> Any:
    """A tensorizer that fails after the picture's tensor was made."""

    def late(value: int) -> Tensor:
        if value in bad:
            raise BadSample("bad", kind="value")
        return torch.tensor(value)

    late.thread_safe = True  # type: ignore[attr-defined]
    return late


def tensorizer(data: Pictures, dtype: str) -> Tensorizer:
    image = ImageTensorizer(None, dtype=dtype)
    fields: dict[str, Any] = {"x": image, "late": check(data.bad)}
    return Tensorizer({**fields, **({"pair": image} if data.two else {})})


def copied(samples: Sequence[Any]) -> Any:
    """Collate that knows nothing of rows."""
    return collate([{**s, "x": s["x"].clone()} for s in samples])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("dtype", ["float", "uint8", "half"])
@pytest.mark.parametrize(
    "data",
    [Pictures(), Pictures(odd=[5]), Pictures(bad=[2, 9]), Pictures(two=True)],
    ids=["equal", "odd", "bad", "two"],
)
def test_batches_are_those_of_copies(data: Pictures, dtype: str, workers: int) -> None:
    parts = Parts(data, tensorizer=tensorizer(data, dtype))
    options = {"batch_size": 6, "num_workers": workers}
    plain = LoaderStream(
        Parts(data, tensorizer=parts.tensorizer, collate=copied), options={"batch_size": 6}
    )
    made = LoaderStream(parts, options=options)
    for epoch in (1, 2):
        for one, other in zip(plain.epoch(epoch), made.epoch(epoch), strict=True):
            assert one.keys() == other.keys()
            assert torch.equal(one["x"], other["x"])
            assert torch.equal(one["late"], other["late"])
            if data.two:
                assert torch.equal(one["pair"], other["pair"])
    made.close()


def test_equal_pictures_are_not_copied() -> None:
    data = Pictures()
    seen: list[Tensor] = []

    def look(samples: Sequence[Any]) -> Any:
        seen.extend(sample["x"] for sample in samples)
        return collate(samples)

    parts = Parts(data, tensorizer=tensorizer(data, "float"), collate=look)
    batch = next(iter(LoaderStream(parts, options={"batch_size": 4}).epoch(1)))
    step = batch["x"][0].numel() * 4
    assert [one.data_ptr() for one in seen[:4]] == [
        batch["x"].data_ptr() + place * step for place in range(4)
    ]


def test_tensors_of_the_data_set_stay_its_own() -> None:
    data = Pictures()

    class Tensors(Pictures):
        def __getitem__(self, number: int) -> dict[str, Any]:
            return {"x": data.whole[number]}

    batch = next(iter(LoaderStream(Tensors(), options={"batch_size": 4}).epoch(1)))
    batch["x"] += 100
    assert int(data.whole.max()) == 19


def test_a_row_is_given_once() -> None:
    rows = BatchRows(3)
    with rows.making(1):
        first = sample_tensor((SIDE, SIDE), torch.float32)
        second = sample_tensor((SIDE, SIDE), torch.float32)
    with rows.making(2):
        other = sample_tensor((SIDE, SIDE + 1), torch.float32)
        small = sample_tensor((3,), torch.float32)
    pointers = {one.data_ptr() for one in (first, second, other, small)}
    assert len(pointers) == 4
    assert rows.joined([first, second, other]) is None
    assert sample_tensor((SIDE, SIDE), torch.float32).data_ptr() not in pointers


def test_numpy_sees_the_same_memory() -> None:
    rows = BatchRows(2)
    made = []
    for place in range(2):
        with rows.making(place):
            row = sample_tensor((SIDE, SIDE), torch.float32)
            row.numpy()[:] = np.float32(place)
            made.append(row)
    whole = rows.joined(made)
    assert whole is not None
    assert whole.mean(dim=(1, 2)).tolist() == [0, 1]
