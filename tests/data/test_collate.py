"""Collate: stacks what is equal, pads what is not, keeps the nesting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from cvtrainer.core.errors import UserError
from cvtrainer.data.collate import Collate, collate
from cvtrainer.data.tensorizer import MaskTensorizer, Tensorizer


def sample(index: int, boxes: int, size: tuple[int, int]) -> dict[str, Any]:
    """A sample with that many boxes and a mask of that size."""
    return {
        "x": torch.full((3, 4, 4), float(index)),
        "target": {
            "class_id": torch.tensor(index),
            "boxes": torch.full((boxes, 4), float(index + 1)),
            "box_labels": torch.full((boxes,), index),
            "mask": torch.full(size, index + 1),
            "inner": {"scale": 0.5},
        },
        "meta": {"index": index, "path": f"{index}.png"},
    }


@pytest.mark.seed("S0-72")
def test_unequal_shapes_are_padded_and_nesting_survives() -> None:
    samples = [sample(0, 2, (3, 5)), sample(1, 0, (4, 2)), sample(2, 3, (4, 5))]
    with pytest.raises(RuntimeError):
        default_collate([{k: v for k, v in s.items() if k != "meta"} for s in samples])
    batch = collate(samples)
    target = batch["target"]
    assert batch["x"].shape == (3, 3, 4, 4)
    assert batch["meta"] == {"index": [0, 1, 2], "path": ["0.png", "1.png", "2.png"]}
    assert target["inner"]["scale"].tolist() == [0.5] * 3
    assert target["inner"]["scale"].dtype == torch.float32
    assert target["boxes"].shape == (3, 3, 4)
    assert target["boxes_padding"].tolist() == [
        [False, False, True],
        [True, True, True],
        [False, False, False],
    ]
    assert target["boxes"][1].abs().sum() == 0
    assert target["box_labels"].tolist() == [[0, 0, -1], [-1, -1, -1], [2, 2, 2]]
    assert target["mask"].shape == target["mask_padding"].shape == (3, 4, 5)
    assert target["mask_padding"][1].tolist() == [[False] * 2 + [True] * 3] * 4
    assert torch.equal(target["mask"] == 0, target["mask_padding"])


def test_equal_shapes_are_stacked_with_their_companion_for_ragged_fields() -> None:
    batch = collate([sample(0, 2, (3, 3)), sample(1, 2, (3, 3))])
    assert "mask_padding" not in batch["target"]
    assert batch["target"]["boxes_padding"].shape == (2, 2)
    assert not batch["target"]["boxes_padding"].any()


def test_what_fills_can_be_chosen() -> None:
    parts = [{"mask": np.zeros((2, 2), np.int64)}, {"mask": np.zeros((3, 2), np.int64)}]
    batch = Collate(pad_values={"mask": 255})(parts)
    assert batch["mask"][0].tolist() == [[0, 0], [0, 0], [255, 255]]
    assert batch["mask_padding"].tolist() == [[False, False, True], [False] * 3]


@pytest.mark.parametrize(("words", "fill"), [({}, 255), ({"ignore_index": 9}, 9)])
def test_masks_of_unequal_size_are_filled_with_what_is_ignored(
    words: dict[str, Any], fill: int
) -> None:
    """Class 0 is a class; what stands beside a picture has none."""
    tensorizer = Tensorizer({"mask": MaskTensorizer(3, **words)})
    samples = [tensorizer({"mask": np.zeros(size, np.uint8)}) for size in ((2, 2), (3, 2))]
    batch = Collate(pad_values=tensorizer.pad_values)(samples)
    assert batch["mask"][0].tolist() == [[0, 0], [0, 0], [fill, fill]]


@pytest.mark.parametrize("words", [{"ignore_index": None}, {"dtype": "float"}, {"dtype": "bool"}])
def test_masks_that_cannot_say_it_are_filled_with_nothing(words: dict[str, Any]) -> None:
    assert Tensorizer({"mask": MaskTensorizer(**words)}).pad_values == {}


def test_masks_of_single_objects_are_filled_with_nothing() -> None:
    """Also where the tensorizer would fill with 255."""
    tensorizer = Tensorizer({"masks": MaskTensorizer(dtype="uint8")})
    samples = [tensorizer({"masks": np.ones((n, 1, n + 1), np.uint8)}) for n in (1, 2)]
    batch = Collate(pad_values={**tensorizer.pad_values, **collate.pad_values})(samples)
    assert batch["masks"][0].tolist() == [[[1, 1, 0]], [[0, 0, 0]]]


def test_pictures_of_unequal_size_say_where_they_end() -> None:
    batch = collate([{"x": torch.ones(3, 2, 4)}, {"x": torch.ones(3, 3, 2)}])
    assert batch["x"].shape == (2, 3, 3, 4)
    assert batch["x_padding"].shape == (2, 3, 4)
    assert (~batch["x_padding"]).sum(dim=(1, 2)).tolist() == [8, 6]


def test_plain_values_and_texts() -> None:
    batch = collate([{"n": 1, "f": 2.0, "t": "a"}, {"n": 2, "f": 3.0, "t": "b"}])
    assert batch["n"].tolist() == [1, 2]
    assert batch["f"].dtype == torch.float32
    assert batch["t"] == ["a", "b"]


def test_samples_that_do_not_fit_together_are_named() -> None:
    odd = sample(1, 1, (2, 2))
    odd["target"]["depth"] = torch.tensor(1)
    with pytest.raises(UserError, match=r"1\.png \(sample 1\): field target\.depth is not in"):
        collate([sample(0, 1, (2, 2)), odd])
    meta = [{"meta": {"index": k, "path": f"{k}.png"}} for k in range(2)]
    with pytest.raises(UserError, match=r"field x is 3, but 2x2 in 0\.png"):
        collate([{"x": torch.ones(2, 2), **meta[0]}, {"x": torch.ones(3), **meta[1]}])
    with pytest.raises(UserError, match="field x cannot become a tensor: object"):
        collate([{"x": object()}, {"x": object()}])


def test_sequences_and_sounds_always_say_where_they_end() -> None:
    parts = [{"x": torch.ones(1, n), "s": torch.ones(n, 2), "t": torch.ones(n)} for n in (2, 3)]
    collate_all = Collate(ragged={"x": 1, "s": 0, "t": 0})
    uneven, even = collate_all(parts), collate_all(parts[:1] * 2)
    for name in ("x", "s", "t"):
        assert uneven[f"{name}_padding"].tolist() == [[False, False, True], [False] * 3]
        assert even[f"{name}_padding"].tolist() == [[False] * 2] * 2
    assert uneven["s"].shape == (2, 3, 2)
    assert uneven["t"].tolist() == [[1, 1, 0], [1, 1, 1]]
