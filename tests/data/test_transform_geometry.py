"""Boxes, masks and keypoints go where the pixels go, on both back ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.transforms import Transforms

BACKENDS = ["Albumentations", "Torchvision"]
MOVES: list[dict[str, Any]] = [
    {"type": "Resize", "height": 90, "width": 50},
    {"type": "HorizontalFlip", "p": 1},
    {"type": "VerticalFlip", "p": 1},
    {"type": "Pad", "padding": [3, 4, 5, 6]},
    {"type": "PadIfNeeded", "min_height": 100, "min_width": 90},
    {"type": "CenterCrop", "height": 50, "width": 60},
    {"type": "RandomCrop", "height": 54, "width": 72},
    {"type": "RandomResizedCrop", "height": 64, "width": 64, "scale": [0.6, 1.0]},
    {"type": "RandomRotate90"},
    {"type": "Rotate", "limit": 40, "p": 1},
    {"type": "Affine", "rotate": 15, "scale": [0.8, 1.1], "shear": 12, "translate_percent": 0.08},
    {"type": "LongestMaxSize", "max_size": 100},
    {"type": "SmallestMaxSize", "max_size": 50},
    {"type": "RandomScale", "scale_limit": 0.3, "p": 1},
    {"type": "Transpose", "p": 1},
    {"type": "Perspective", "scale": [0.05, 0.15], "p": 1},
    {"type": "ElasticTransform", "alpha": 40, "sigma": 8, "p": 1},
]
LOOSE = {"Rotate", "Affine", "Perspective", "ElasticTransform"}
"""Their boxes stand around bent or turned outlines, and so are larger than what is seen."""


def scene() -> dict[str, Any]:
    """A white block on black with its box, its mask and its middle."""
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[26:36, 34:50] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    return {
        "x": image,
        "target": {
            "boxes": [[34.0, 26.0, 50.0, 36.0]],
            "box_labels": [4],
            "mask": mask,
            "keypoints": [[42.0, 31.0, 2.0]],
        },
        "meta": {"index": 0, "path": "a.png"},
    }


def middle(plane: np.ndarray) -> tuple[float, float]:
    """The middle of what is white, in continuous pixels."""
    ys, xs = np.nonzero(plane)
    return float(xs.mean() + 0.5), float(ys.mean() + 0.5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("item", MOVES, ids=lambda item: str(item["type"]))
def test_everything_moves_together(backend: str, item: dict[str, Any]) -> None:
    transforms = Transforms(backend, [item])
    for position in range(6):
        out = transforms(scene(), DrawKey(3, 1, position))
        target = out["target"]
        white = out["x"][:, :, 0] > 127
        assert target["mask"].shape == white.shape
        x, y = target["keypoints"][0, :2]
        near = 1.5 if item["type"] == "ElasticTransform" else 0.7
        assert middle(white) == pytest.approx((x, y), abs=near)
        assert middle(target["mask"]) == pytest.approx((x, y), abs=near)
        x1, y1, x2, y2 = target["boxes"][0]
        assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((x, y), abs=near)
        ys, xs = np.nonzero(white)
        assert x1 <= xs.min() + 1
        assert x2 >= xs.max()
        assert y1 <= ys.min() + 1
        assert y2 >= ys.max()
        if item["type"] not in LOOSE:
            assert (x1, x2) == pytest.approx((xs.min(), xs.max() + 1), abs=1.3)
            assert (y1, y2) == pytest.approx((ys.min(), ys.max() + 1), abs=1.3)
        assert target["box_labels"] == [4]


def test_both_back_ends_move_alike() -> None:
    for item in MOVES:
        for position in range(4):
            outs = [Transforms(b, [item])(scene(), DrawKey(3, 1, position)) for b in BACKENDS]
            one, other = (out["target"] for out in outs)
            np.testing.assert_allclose(one["boxes"], other["boxes"], atol=1e-4)
            np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=1e-4)
            assert (one["mask"] != other["mask"]).mean() < 0.01, item


def test_boxes_outside_go_with_their_labels_and_points_turn_invisible() -> None:
    sample = scene()
    sample["target"]["boxes"] = [[0, 0, 5, 5], [34, 26, 50, 36], [8, 28, 30, 40]]
    sample["target"]["box_labels"] = np.array([7, 8, 9])
    sample["target"]["masks"] = np.zeros((3, 60, 80), np.uint8)
    sample["target"]["keypoints"] = [[1, 1, 2], [42, 31, 2]]
    crop = [{"type": "CenterCrop", "height": 40, "width": 60}]
    out = Transforms("Albumentations", crop)(sample, DrawKey(0, 0, 0))["target"]
    assert out["boxes"].tolist() == [[24, 16, 40, 26], [0, 18, 20, 30]]
    assert out["box_labels"].tolist() == [8, 9]
    assert out["masks"].shape == (2, 40, 60)
    assert out["keypoints"].tolist() == [[-9, -9, 0], [32, 21, 2]]


@pytest.mark.parametrize("item", MOVES, ids=lambda item: str(item["type"]))
def test_a_sample_without_boxes_stays_one(item: dict[str, Any]) -> None:
    sample = scene()
    sample["target"].update(boxes=[], box_labels=[])
    out = Transforms("Torchvision", [item])(sample, DrawKey(0, 0, 0))["target"]
    assert out["boxes"].shape == (0, 4)


def test_labels_survive_untouched_beside_the_picture() -> None:
    sample = {"image": scene()["x"], "boxes": [[1, 2, 3, 4]], "target": 5}
    out = Transforms("Albumentations", ["HorizontalFlip"])(sample, DrawKey(0, 0, 0))
    assert out["target"] == 5
    assert out["image"].shape == (60, 80, 3)


def test_what_does_not_fit_is_named() -> None:
    sample = scene()
    sample["target"]["mask"] = np.zeros((5, 5), np.uint8)
    with pytest.raises(UserError, match=r"a\.png \(sample 0\): the mask is 5x5"):
        Transforms("Albumentations", ["HorizontalFlip"])(sample, DrawKey(0, 0, 0))
    with pytest.raises(UserError, match="no picture to transform"):
        Transforms("Albumentations", ["HorizontalFlip"])({"y": 1}, DrawKey(0, 0, 0))
