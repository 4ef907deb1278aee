"""Transforms of the libraries themselves, by name: seeded per sample, labels moving along."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.transforms import Transforms
from cvtrainer.data.transforms.pixels import Motion
from cvtrainer.data.transforms.pixels_opencv import OpenCvPixels

IMAGE = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
ITEMS: dict[str, list[Any]] = {
    "Albumentations": [
        {
            "type": "OneOf",
            "kwargs": {"p": 1, "transforms": [{"type": "MotionBlur", "p": 1}, "CLAHE"]},
        },
        {"type": "albumentations.Perspective", "kwargs": {"p": 1}},
        {"type": "GaussNoise", "kwargs": {"p": 1}},
    ],
    "Torchvision": [
        {"type": "RandomPerspective", "kwargs": {"p": 1}},
        {"type": "RandomSolarize", "kwargs": {"threshold": 99}},
        {"type": "RandomPosterize", "kwargs": {"bits": 3, "p": 0.5}},
    ],
}


def sample() -> dict[str, Any]:
    """A picture with every label."""
    return {
        "x": IMAGE,
        "target": {
            "boxes": [[10, 10, 20, 30], [5, 5, 9, 9]],
            "box_labels": [1, 2],
            "mask": np.ones((40, 30), np.uint8),
            "keypoints": [[15.0, 20.0]],
        },
    }


@pytest.mark.parametrize("backend", list(ITEMS))
def test_native_transforms_are_functions_of_the_key(backend: str) -> None:
    transforms = Transforms(backend, ITEMS[backend])
    state = torch.random.get_rng_state()
    outs = [transforms(sample(), DrawKey(1, 1, k)) for k in range(4)]
    assert torch.equal(state, torch.random.get_rng_state())
    again = [Transforms(backend, ITEMS[backend])(sample(), DrawKey(1, 1, k)) for k in range(4)]
    for one, other in zip(outs, again, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
        np.testing.assert_array_equal(one["target"]["boxes"], other["target"]["boxes"])
        np.testing.assert_array_equal(one["target"]["mask"], other["target"]["mask"])
        assert one["target"]["keypoints"].shape == (1, 2)
        assert len(one["target"]["boxes"]) == len(one["target"]["box_labels"])
    assert len({one["x"].tobytes() for one in outs}) == 4


def test_a_name_with_its_library_is_that_one_on_either_back_end() -> None:
    for backend in ITEMS:
        for name in ("albumentations.Transpose", "torchvision.transforms.v2.RandomInvert"):
            item = {"type": name, "kwargs": {"p": 1.0}}
            assert Transforms(backend, [item])(sample(), DrawKey(1, 1, 0))["x"].dtype == np.uint8
    with pytest.raises(UserError, match="kornia has no transform Blur"):
        Transforms("Torchvision", ["kornia.Blur"])


def test_an_argument_that_the_library_lacks_is_an_error() -> None:
    with pytest.raises(UserError, match=r"CLAHE of albumentations takes no clip_limits. Did you"):
        Transforms("Albumentations", [{"type": "CLAHE", "kwargs": {"clip_limits": 2}}])
    with pytest.raises(UserError, match="RandomPosterize of torchvision needs bits"):
        Transforms("Torchvision", [{"type": "RandomPosterize"}])


@pytest.mark.parametrize(
    "item",
    [
        {"type": "albumentations.HorizontalFlip", "p": 1},
        {"type": "albumentations.D4", "p": 1},
        {"type": "albumentations.Rotate", "p": 1, "limit": 30},
        {"type": "albumentations.Affine", "p": 1, "rotate": 20, "scale": [0.7, 0.9]},
        {"type": "albumentations.Perspective", "p": 1},
        {"type": "albumentations.Resize", "height": 180, "width": 240},
        {"type": "albumentations.RandomResizedCrop", "size": [90, 90], "scale": [0.6, 1]},
        {"type": "torchvision.RandomHorizontalFlip", "p": 1},
        {"type": "torchvision.RandomVerticalFlip", "p": 1},
        {"type": "torchvision.RandomAffine", "degrees": 20, "translate": [0.1, 0.1]},
        {"type": "torchvision.RandomPerspective", "p": 1, "distortion_scale": 0.2},
        {"type": "torchvision.Resize", "size": [180, 240]},
    ],
    ids=lambda item: str(item["type"]),
)
def test_known_points_move_with_their_pixels(item: dict[str, Any]) -> None:
    for position in range(5):
        image = np.zeros((60, 80, 3), np.uint8)
        image[26:36, 34:50] = 255
        given = {
            "x": image,
            "mask": (image[:, :, 0] > 0).astype(np.uint8),
            "boxes": [[34, 26, 50, 36]],
            "keypoints": [[42.0, 31.0]],
        }
        out = Transforms("Albumentations", [item])(given, DrawKey(3, 1, position))
        ys, xs = np.nonzero(out["x"][:, :, 0] > 127)
        seen = (xs.mean() + 0.5, ys.mean() + 0.5)
        assert tuple(out["keypoints"][0]) == pytest.approx(seen, abs=0.7)
        x1, y1, x2, y2 = out["boxes"][0]
        assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx(seen, abs=0.7)
        ys, xs = np.nonzero(out["mask"])
        assert (xs.mean() + 0.5, ys.mean() + 0.5) == pytest.approx(seen, abs=1.6)


def test_an_argument_that_only_the_back_ends_own_takes_points_there() -> None:
    item = {"type": "Perspective", "kwargs": {"keep_size": True}}
    with pytest.raises(
        UserError, match=r"takes no keep_size. .* write albumentations\.Perspective"
    ):
        Transforms("Albumentations", [item])


def test_importing_albumentations_here_asks_nobody() -> None:
    code = (
        "import socket, os\n"
        "def refuse(*a, **k): raise SystemExit('asked the network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from cvtrainer.data.transforms import Transforms\n"
        "Transforms('Albumentations', ['CLAHE'])\n"
        "assert 'NO_ALBUMENTATIONS_UPDATE' not in os.environ\n"
    )
    clean = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_vocabulary_needs_no_albumentations() -> None:
    code = (
        "import sys\n"
        "from cvtrainer.data.transforms import Transforms\n"
        "Transforms('Albumentations', [{'type': 'Resize', 'size': 8}, 'HorizontalFlip'])\n"
        "assert 'albumentations' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_opencv_operations_equal_albumentations_own() -> None:
    from albumentations.augmentations.geometric import functional as geometric
    from albumentations.augmentations.pixel import functional as colors

    ours = OpenCvPixels()
    near = {"atol": 1}
    for factor in (0.5, 0.9, 1.4):
        pairs = [
            (ours.brightness(IMAGE, factor), colors.adjust_brightness_torchvision(IMAGE, factor)),
            (ours.contrast(IMAGE, factor), colors.adjust_contrast_torchvision(IMAGE, factor)),
            (ours.saturation(IMAGE, factor), colors.adjust_saturation_torchvision(IMAGE, factor)),
        ]
        for own, theirs in pairs:
            np.testing.assert_allclose(own.astype(int), theirs.astype(int), **near)
    for shift in (-0.3, 0.1):
        theirs = colors.adjust_hue_torchvision(IMAGE, shift)
        np.testing.assert_allclose(ours.hue(IMAGE, shift).astype(int), theirs.astype(int), **near)
    small = ours.resize(IMAGE, (20, 17), "bilinear", None)
    np.testing.assert_array_equal(small, geometric.resize(IMAGE, (20, 17), 1))
    still = ours.affine(IMAGE, Motion(), "bilinear", 0)
    np.testing.assert_array_equal(still, IMAGE)
