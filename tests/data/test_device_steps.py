"""Batches on their device: the tensorizer's bits, draws per sample, labels that follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.collate import collate
from cvtrainer.data.device_steps import (
    ColorJitter,
    DeviceSteps,
    Draws,
    Normalize,
    RandomErasing,
    RandomHorizontalFlip,
    RandomShift,
    RandomVerticalFlip,
)
from cvtrainer.data.tensorizer import ImageTensorizer

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
STEPS = [
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
    RandomErasing(value=9),
    RandomHorizontalFlip(),
    RandomShift(3, fill=7),
    RandomVerticalFlip(),
]


def noise(count: int = 6, height: int = 10, width: int = 12) -> torch.Tensor:
    """Pictures of bytes."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def batch(count: int = 6) -> dict[str, Any]:
    """With the seeds that a stream gives."""
    return {"x": noise(count), "meta": {"draw_seeds": [mix(3, k) for k in range(count)]}}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "normalize", ["imagenet", None, {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.4, 0.7]}]
)
@pytest.mark.parametrize("dtype", ["float", "half"])
def test_normalize_gives_the_bits_of_the_tensorizer(
    device: str, normalize: Any, dtype: str
) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    wanted = ImageTensorizer(normalize, dtype=dtype)(every)
    travelled = ImageTensorizer(None, dtype="uint8")(every)
    step = Normalize(normalize, dtype=dtype)
    for raw in (travelled, travelled.float()):
        one = {"x": raw[None].to(device)}
        out = step(one, Draws(()))["x"]
        assert out.dtype == wanted.dtype
        assert torch.equal(out[0].cpu(), wanted)
        assert torch.equal(one["x"][0].cpu(), raw)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_what_is_drawn_belongs_to_the_sample(step: Any) -> None:
    whole = DeviceSteps([step])(batch())["x"]
    assert torch.equal(whole, DeviceSteps([step])(batch())["x"])
    part = batch()
    some = {"x": part["x"][2:4], "meta": {"draw_seeds": part["meta"]["draw_seeds"][2:4]}}
    torch.testing.assert_close(DeviceSteps([step])(some)["x"], whole[2:4])
    assert not torch.equal(whole, batch()["x"].to(whole.dtype))
    with pytest.raises(UserError, match="0 draw_seeds for 6 samples"):
        DeviceSteps([step])({"x": noise()})


def test_draws_are_even_and_apart() -> None:
    draws = Draws([mix(1, k) for k in range(2000)])
    numbers = draws.uniform(3)
    assert numbers.shape == (2000, 3)
    assert abs(numbers.mean() - 0.5) < 0.02
    assert np.abs(np.corrcoef(np.concatenate([numbers, draws.at(1).uniform(2)], 1).T)).max() <= 1
    apart = np.corrcoef(np.concatenate([numbers, draws.at(1).uniform(2)], axis=1).T)
    assert np.abs(apart - np.eye(5)).max() < 0.08
    np.testing.assert_array_equal(draws.uniform(3)[:, :2], draws.uniform(2))
    assert draws.uniform(1, low=4, high=5).min() >= 4


@pytest.mark.parametrize("format", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("kind", [RandomHorizontalFlip, RandomVerticalFlip])
def test_labels_follow_a_flip(kind: Any, format: str) -> None:
    samples = []
    for row, column in ((2, 3), (6, 8)):
        picture = torch.zeros(3, 10, 12)
        picture[:, row, column] = 1
        box = {
            "xyxy": [column, row, column + 1, row + 1],
            "xywh": [column, row, 1, 1],
            "cxcywh": [column + 0.5, row + 0.5, 1, 1],
        }[format]
        target = {
            "boxes": torch.tensor([box] * (1 + (row == 2)), dtype=torch.float32),
            "keypoints": torch.tensor([[column + 0.5, row + 0.5, 2.0]]),
            "mask": picture[0].long(),
            "masks": picture[:1].to(torch.uint8),
            "class_id": torch.tensor(row),
        }
        samples.append({"x": picture, "target": target})
    joined = collate(samples)
    joined["meta"] = {"draw_seeds": [5, 6]}
    out = DeviceSteps([kind(p=1, box_format=format)])(joined)
    target = out["target"]
    for number, (row, column) in enumerate(((2, 3), (6, 8))):
        y, x = (row, 11 - column) if kind is RandomHorizontalFlip else (9 - row, column)
        assert out["x"][number].nonzero().tolist() == [[c, y, x] for c in range(3)]
        assert target["mask"][number].nonzero().tolist() == [[y, x]]
        assert target["masks"][number].nonzero().tolist() == [[0, y, x]]
        assert target["keypoints"][number, 0].tolist() == [x + 0.5, y + 0.5, 2]
        wanted = {
            "xyxy": [x, y, x + 1, y + 1],
            "xywh": [x, y, 1, 1],
            "cxcywh": [x + 0.5, y + 0.5, 1, 1],
        }[format]
        assert target["boxes"][number, 0].tolist() == wanted
    assert target["boxes"][1, 1].tolist() == [0, 0, 0, 0]
    assert target["boxes_padding"].tolist() == [[False, False], [False, True]]
    assert target["class_id"].tolist() == [2, 6]
    still = DeviceSteps([kind(p=0, box_format=format)])(joined)
    assert torch.equal(still["target"]["boxes"], joined["target"]["boxes"])


def test_colours_by_hand() -> None:
    one = {"x": torch.full((1, 3, 4, 4), 100, dtype=torch.uint8), "meta": {"draw_seeds": [1]}}
    one["x"][:, :, :2] = 200
    brighter = DeviceSteps([ColorJitter(brightness=[1.1, 1.1])])(one)["x"]
    torch.testing.assert_close(brighter, one["x"].float() * 1.1)
    flat = DeviceSteps([ColorJitter(contrast=[0, 0])])(one)["x"]
    torch.testing.assert_close(flat, torch.full((1, 3, 4, 4), 150.0))
    coloured = {**one, "x": noise(1)}
    grey = DeviceSteps([ColorJitter(saturation=[0, 0])])(coloured)["x"]
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    wanted = (coloured["x"] * weights).sum(1, keepdim=True).expand(1, 3, 10, 12)
    torch.testing.assert_close(grey, wanted, atol=1e-3, rtol=0)


def test_an_erased_rectangle_has_its_share() -> None:
    count = 300
    white = {"x": torch.ones(count, 1, 40, 60), "meta": {"draw_seeds": list(range(count))}}
    step = RandomErasing(p=0.5, scale=[0.1, 0.2], ratio=[0.5, 2.0])
    out = DeviceSteps([step])(white)["x"]
    gone = (out == 0).flatten(1).float().mean(1)
    erased = gone[gone > 0]
    assert 110 < len(erased) < 190
    assert 0.085 < float(erased.min()) <= float(erased.max()) < 0.215
    for picture in out[gone > 0][:20]:
        _, ys, xs = (picture == 0).nonzero(as_tuple=True)
        assert (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1) == len(ys)


def test_wrong_pictures_and_arguments_are_named() -> None:
    with pytest.raises(UserError, match="needs pictures"):
        Normalize()({"x": torch.zeros(3, 4, 4)}, Draws(()))
    with pytest.raises(UserError, match="1 channels, but mean and std 3"):
        Normalize()({"x": torch.zeros(1, 1, 4, 4)}, Draws(()))
    with pytest.raises(UserError, match="dtype is uint8"):
        Normalize(None, dtype="uint8")
    with pytest.raises(UserError, match="no box format"):
        RandomHorizontalFlip(box_format="yx")  # type: ignore[arg-type]


def test_shifted_pictures_are_the_same_pixels_elsewhere() -> None:
    given = batch(60)
    moved = RandomShift(2, fill=7)(given, Draws(given["meta"]["draw_seeds"]))["x"]
    wider = torch.nn.functional.pad(given["x"], (2, 2, 2, 2), value=7)
    found = set()
    for one, frame in zip(moved, wider, strict=True):
        fits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(one, frame[:, y : y + 10, x : x + 12])
        ]
        assert len(fits) == 1
        found |= set(fits)
    assert len(found) > 15, "every way and none is drawn"


@pytest.mark.parametrize("place", ["target", "batch"])
def test_a_shift_refuses_what_has_places(place: str) -> None:
    given = batch()
    boxes = {"boxes": torch.zeros(6, 1, 4)}
    given |= {"target": boxes} if place == "target" else boxes
    with pytest.raises(UserError, match="the batch has boxes"):
        RandomShift()(given, Draws(given["meta"]["draw_seeds"]))
    with pytest.raises(UserError, match="pixels is 0"):
        RandomShift(0)
