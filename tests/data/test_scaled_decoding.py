"""A picture that was decoded smaller gives the same part, and never one that must be enlarged."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.transforms import Transforms
from cvtrainer.data.transforms.scene import DECODED_FROM, scaled_sample

BACKENDS = ["Albumentations", "Torchvision"]
CROP = {"type": "RandomResizedCrop", "size": [48, 64]}


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [x * 255 / width, y * 255 / height, (x + y) * 255 / (height + width)]
    return np.stack(bands, axis=2).astype(np.uint8)


def sample(height: int = 375, width: int = 500) -> dict[str, Any]:
    """With a box and a keypoint."""
    return {
        "x": picture(height, width),
        "target": {"boxes": [[100.0, 80.0, 200.0, 160.0]], "keypoints": [[150.0, 120.0, 2.0]]},
        "meta": {"index": 0, "path": "a.jpg"},
    }


def decoded(full: dict[str, Any], need: tuple[int, int]) -> dict[str, Any]:
    """That sample as a decoder that halves would give it."""
    height, width = full["x"].shape[:2]
    eighths = max(1, max(-(-8 * n // side) for n, side in zip(need, (height, width), strict=True)))
    new = -(-height * eighths // 8), -(-width * eighths // 8)
    small = cv2.resize(full["x"], new[::-1], interpolation=cv2.INTER_AREA)
    return scaled_sample({**full, "x": small}, height, width, *new)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "items",
    [
        [CROP],
        ["HorizontalFlip", {"type": "ColorJitter", "brightness": 0.2}, CROP],
        [{"type": "Resize", "size": [64, 80]}, CROP],
        [{"type": "Resize", "size": 60}],
        [{"type": "SmallestMaxSize", "max_size": 61}],
        [{"type": "LongestMaxSize", "max_size": 77}, "VerticalFlip"],
        [{**CROP, "p": 0.5}],
    ],
)
def test_the_same_part_from_fewer_pixels(backend: str, items: list[Any]) -> None:
    transforms = Transforms(backend, items)
    fewer = 0
    for position in range(40):
        key = DrawKey(5, 1, position)
        full = sample()
        need = transforms.smallest_needed(375, 500, key)
        assert need is not None
        small = decoded(full, need)
        fewer += small["x"].shape != full["x"].shape
        one, other = transforms(full, key), transforms(small, key)
        assert one["x"].shape == other["x"].shape
        assert np.abs(one["x"].astype(int) - other["x"]).max() <= 14
        np.testing.assert_allclose(
            one["target"]["keypoints"], other["target"]["keypoints"], atol=1.6
        )
        for box, same in zip(one["target"]["boxes"], other["target"]["boxes"], strict=False):
            np.testing.assert_allclose(box, same, atol=2)
        assert DECODED_FROM not in other["meta"]
    assert fewer > 10


def test_the_part_is_never_enlarged() -> None:
    transforms = Transforms("Albumentations", [CROP])
    for position in range(200):
        need = transforms.smallest_needed(375, 500, DrawKey(1, 2, position))
        assert need is not None
        assert 48 <= need[0] <= 375
        assert 64 <= need[1] <= 500
    tiny = transforms.smallest_needed(20, 30, DrawKey(1, 2, 3))
    assert tiny == (20, 30)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"type": "CenterCrop", "size": 8}],
        [{"type": "RandomCrop", "size": 8}, CROP],
        ["RandomRotate90", CROP],
        ["GaussianBlur", CROP],
        ["CLAHE", CROP],
        [lambda one: one, CROP],
    ],
)
def test_where_every_pixel_counts_nothing_is_said(items: list[Any]) -> None:
    transforms = Transforms("Albumentations", items)
    assert transforms.smallest_needed(375, 500, DrawKey(1, 1, 1)) is None


def test_labels_follow_the_decoder() -> None:
    out = scaled_sample(sample(), 400, 500, 100, 250)
    assert out["target"]["boxes"].tolist() == [[50, 20, 100, 40]]
    assert out["target"]["keypoints"].tolist() == [[75, 30, 2]]
    assert out["meta"][DECODED_FROM] == (400, 500)
    assert sample()["target"]["boxes"] == [[100, 80, 200, 160]]
