"""RandAugment, TrivialAugment and erasing: every change of their lists, on both back ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import DrawKey, generator
from cvtrainer.data.transforms import Transforms, vocabulary
from cvtrainer.data.transforms.augment_space import (
    RAND_AUGMENT,
    TRIVIAL_AUGMENT_WIDE,
    Look,
    changed,
)
from cvtrainer.data.transforms.scene import Scene
from cvtrainer.data.transforms.scene_list import load_pixels

BACKENDS = ["Albumentations", "Torchvision"]
GEOMETRIC = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
LOOK = Look("bilinear", 0, 0)


def picture() -> np.ndarray:
    """Smooth colours."""
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([x * 3, y * 4, 20 + x + y], axis=2).astype(np.uint8)


def block() -> Scene:
    """A white block with its marks."""
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[26:36, 36:48] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    return Scene(
        image,
        (mask,),
        np.array([[36, 26, 48, 36]], dtype=np.float32),
        np.array([[42, 31, 2]], dtype=np.float32),
        np.arange(1),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GEOMETRIC)
def test_labels_follow_each_geometric_change(backend: str, name: str) -> None:
    for space in (RAND_AUGMENT, TRIVIAL_AUGMENT_WIDE):
        for seed in range(4):
            out = changed(block(), space[name], 14, 31, generator(seed), load_pixels(backend), LOOK)
            assert out.keypoints is not None
            x, y = out.keypoints[0, :2]
            for plane in (out.image[:, :, 0] > 127, out.planes[0] > 0):
                ys, xs = np.nonzero(plane)
                assert (xs.mean() + 0.5, ys.mean() + 0.5) == pytest.approx((x, y), abs=0.7)
            assert (x, y) != (42, 31)


@pytest.mark.parametrize("name", RAND_AUGMENT)
def test_both_back_ends_change_alike(name: str) -> None:
    for seed in range(3):
        one, other = (
            changed(
                Scene(picture()), RAND_AUGMENT[name], 9, 31, generator(seed), load_pixels(b), LOOK
            ).image.astype(int)
            for b in BACKENDS
        )
        assert np.abs(one - other).mean() < 2.5


def test_values_by_hand() -> None:
    pixels = load_pixels("Albumentations")
    image = np.array([[[0], [100], [127], [128], [200], [255]]], dtype=np.uint8)
    assert pixels.invert(image).ravel().tolist() == [255, 155, 128, 127, 55, 0]
    assert pixels.posterize(image, 2).ravel().tolist() == [0, 64, 64, 128, 192, 192]
    assert pixels.solarize(image, 0.5).ravel().tolist() == [0, 100, 127, 127, 55, 0]
    assert pixels.autocontrast(image[:, 1:5]).ravel().tolist() == [0, 68, 71, 255]
    np.testing.assert_array_equal(pixels.gamma(image, 1.0), image)
    assert pixels.gamma(image, 2.0).ravel().tolist() == [0, 39, 63, 64, 157, 255]
    assert pixels.gamma(image / 255.0, 2.0)[0, 1, 0] == pytest.approx(0.15379, abs=1e-4)


def test_tones_agree_between_back_ends_and_on_floats() -> None:
    one, other = (load_pixels(b) for b in BACKENDS)
    noise = np.random.default_rng(1).integers(30, 200, (20, 30, 3), dtype=np.uint8)
    for name, amounts in {
        "gamma": [0.5],
        "invert": [],
        "posterize": [3],
        "solarize": [0.4],
        "equalize": [],
        "autocontrast": [],
        "sharpness": [1.7],
    }.items():
        for image in (noise, noise[:, :, :1]):
            ours, theirs = (getattr(p, name)(image, *amounts) for p in (one, other))
            assert ours.shape == image.shape
            assert np.abs(ours.astype(int) - theirs).max() <= 1, name
        whole = noise.astype(np.float32) / 255
        floats = getattr(one, name)(whole, *amounts)
        assert floats.dtype == np.float32
        bytes_ = getattr(one, name)(noise, *amounts)
        assert np.abs(floats * 255 - bytes_).max() < 1.01, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["RandAugment", "TrivialAugmentWide"])
def test_policies_keep_form_and_labels_together(backend: str, name: str) -> None:
    transforms = Transforms(backend, [name])
    assert transforms.thread_safe
    outs = set()
    for position in range(40):
        scene = block()
        sample: dict[str, Any] = {
            "x": scene.image,
            "mask": scene.planes[0],
            "keypoints": scene.keypoints,
        }
        out = transforms(sample, DrawKey(1, 1, position))
        again = transforms(sample, DrawKey(1, 1, position))
        np.testing.assert_array_equal(out["x"], again["x"])
        assert out["x"].shape == (60, 80, 3)
        outs.add(out["x"].tobytes() + out["mask"].tobytes())
        x, y, visible = out["keypoints"][0]
        if visible and out["mask"].sum() > 80:
            ys, xs = np.nonzero(out["mask"])
            assert (xs.mean() + 0.5, ys.mean() + 0.5) == pytest.approx((x, y), abs=3)
    assert len(outs) > 12


def test_erased_parts_have_their_size_and_labels_stay() -> None:
    white = {"x": np.full((50, 80, 3), 255, np.uint8), "mask": np.ones((50, 80), np.uint8)}
    item = {"type": "RandomErasing", "scale": [0.1, 0.2], "p": 1, "value": [1, 2, 3]}
    for position in range(20):
        out = Transforms("Torchvision", [item])(white, DrawKey(1, 1, position))
        gone = out["x"][:, :, 0] == 1
        assert 0.09 <= gone.mean() <= 0.21
        assert (out["x"][gone] == [1, 2, 3]).all()
        assert out["mask"].all()
    holes = {"type": "CoarseDropout", "num_holes_range": [3, 3], "fill_mask": 0, "p": 1}
    out = Transforms("Albumentations", [{**holes, "hole_height_range": [5, 5]}])(
        white, DrawKey(1, 1, 1)
    )
    np.testing.assert_array_equal(out["x"][:, :, 0] == 0, out["mask"] == 0)
    assert white["x"].all()
    noisy = Transforms("Albumentations", [{**item, "value": "noise"}])(white, DrawKey(1, 1, 1))
    assert len(np.unique(noisy["x"])) > 50


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"type": "RandAugment", "magnitude": 31}, r"magnitude 0\.\.30"),
        ({"type": "RandomErasing", "value": "random"}, "value is 'random'"),
        ({"type": "Posterize", "num_bits": 9}, r"num_bits is 9. Stay within 1\.\.8"),
        ({"type": "Perspective", "scale": [0.3, 0.1]}, "scale is"),
        ({"type": "ElasticTransform", "sigma": 0}, "sigma is 0"),
    ],
)
def test_wrong_amounts_are_named(item: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Transforms("Albumentations", [item])


def test_names_of_albumentations_take_its_arguments_on_both_back_ends() -> None:
    for backend in BACKENDS:
        items: list[Any] = [
            {"type": "RandomGamma", "gamma_limit": [80, 120], "p": 1},
            {"type": "Posterize", "num_bits": 4, "p": 1},
            {"type": "Solarize", "threshold_range": [0.5, 0.5], "p": 1},
            {"type": "CoarseDropout", "num_holes_range": [1, 2], "p": 1},
        ]
        assert Transforms(backend, items)({"x": picture()}, DrawKey(1, 1, 1))["x"].dtype == np.uint8
    assert vocabulary.Posterize(num_bits=4).amounts[0] == 4
