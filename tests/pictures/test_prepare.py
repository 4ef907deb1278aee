"""The same pixels as the training pipeline gives, by numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import input_spec_of
from cvtrainer.core.input_spec import CenterCrop, InputSpec
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.tensorizer import ImageTensorizer
from cvtrainer.data.transforms import Transforms
from cvtrainer.pictures.prepare import prepared, with_channels
from tests.core.test_input_spec import stage

SIZES = [(153, 116), (44, 162), (30, 42), (5, 7), (97, 97)]


def pictures() -> list[np.ndarray[Any, Any]]:
    """Noise, and noise that is smooth."""
    draw = np.random.default_rng(0)
    noise = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    smooth = [np.sort(np.sort(one, axis=0), axis=1) for one in noise]
    return noise + smooth


def pipeline(
    picture: np.ndarray[Any, Any], backend: str, nodes: list[Any], image: dict[str, Any]
) -> np.ndarray[Any, Any]:
    """What evaluation makes of the picture."""
    sample = Transforms(backend, nodes)({"x": picture, "meta": {"index": 0}}, DrawKey(0, 0, 0))
    made: torch.Tensor = ImageTensorizer(**image)(sample["x"])
    return made.numpy()


def both(
    nodes: list[Any], backend: str = "Albumentations", image: dict[str, Any] | None = None
) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Each picture as the pipeline gives it and as numpy does."""
    words = image if image is not None else {"normalize": None, "dtype": "uint8"}
    spec = input_spec_of(stage(nodes, words, backend))
    return [(pipeline(one, backend, nodes, words), prepared(one, spec)) for one in pictures()]


def resize(**words: Any) -> dict[str, Any]:
    return {"type": "Resize", "kwargs": {"height": 43, "width": 61, **words}}


@pytest.mark.parametrize(
    ("backend", "words", "share"),
    [
        ("Albumentations", {}, 0.03),
        ("Albumentations", {"interpolation": "bicubic"}, 0.01),
        ("Albumentations", {"interpolation": "lanczos"}, 0.01),
        ("Albumentations", {"interpolation": "area"}, 0.03),
        ("Albumentations", {"antialias": True}, 0.03),
        ("Torchvision", {}, 0.03),
        ("Torchvision", {"interpolation": "bicubic"}, 0.03),
        ("Torchvision", {"antialias": False}, 0.3),
    ],
)
def test_a_resize_differs_by_one_and_rarely(
    backend: str, words: dict[str, Any], share: float
) -> None:
    for theirs, ours in both([resize(**words)], backend):
        away = np.abs(theirs.astype(int) - ours.astype(int))
        assert theirs.shape == ours.shape
        assert away.max() <= (2 if words.get("interpolation") == "bicubic" else 1)
        assert (away > 0).mean() <= share


def test_nearest_takes_a_neighbour() -> None:
    """Where two are equally near, the back end may take the other one."""
    for theirs, ours in both([resize(interpolation="nearest")]):
        assert (theirs != ours).mean() < 0.1


@pytest.mark.parametrize(
    "nodes",
    [
        [{"type": "CenterCrop", "kwargs": {"size": 40, "pad_if_needed": True, "fill": [1, 2, 3]}}],
        [{"type": "Pad", "kwargs": {"padding": [1, 2, 3, 4], "fill": 9}}],
        [{"type": "PadIfNeeded", "kwargs": {"min_height": 100, "min_width": 120}}],
        [{"type": "ToGray", "kwargs": {"p": 1}}],
        [
            {"type": "SmallestMaxSize", "kwargs": {"max_size": 30}},
            {"type": "CenterCrop", "kwargs": {"size": 28}},
        ],
        [{"type": "LongestMaxSize", "kwargs": {"max_size": 30, "antialias": True}}],
    ],
)
def test_other_steps_are_the_same(nodes: list[Any]) -> None:
    for theirs, ours in both(nodes):
        away = np.abs(theirs.astype(int) - ours.astype(int))
        assert theirs.shape == ours.shape
        assert away.max() <= 1
        assert (away > 0).mean() < 0.04


def test_numbers_are_those_of_the_tensorizer_to_the_last_bit() -> None:
    for image in ({}, {"normalize": None}, {"normalize": {"mean": [0.3], "std": [0.2]}}):
        for theirs, ours in both([], image=image):
            assert np.array_equal(theirs, ours)


def test_a_resize_of_fractions_is_not_rounded() -> None:
    for theirs, ours in both([], image={"normalize": None, "resize": 24}):
        assert np.allclose(theirs, ours, atol=1e-5)
        assert not np.array_equal(np.rint(ours * 255), ours * 255)


def test_colours_become_grey_and_grey_three_channels() -> None:
    import cv2

    for picture in pictures():
        grey = with_channels(picture, 1)
        assert np.array_equal(grey[:, :, 0], cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        assert np.array_equal(with_channels(grey[:, :, 0], 3), np.repeat(grey, 3, axis=2))
    with pytest.raises(UserError, match="4 channels"):
        with_channels(np.zeros((2, 2, 4), np.uint8), 3)


def test_a_picture_without_that_middle_is_refused() -> None:
    spec = InputSpec(steps=(CenterCrop(size=(9, 9)),))
    with pytest.raises(UserError, match="no middle of 9x9"):
        prepared(np.zeros((8, 20, 3), np.uint8), spec)
