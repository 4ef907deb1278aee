"""Copies are known whatever was done to them; pictures of the same kind of thing are not copies."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from cvtrainer.data.survey import likeness
from cvtrainer.data.survey.likeness import (
    WINDOWS,
    bits_of,
    distances,
    reduced,
    same_picture,
    signature,
)
from tests.data.doctor.worlds import texture

Change = Callable[[np.ndarray], np.ndarray]
SIZE = (240, 320)


def recompressed(pixels: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=30)
    return np.asarray(Image.open(stream).convert("RGB"))


def resized(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (128, 96), interpolation=cv2.INTER_AREA)


CHANGES: dict[str, Change] = {
    "quality 30": recompressed,
    "smaller": resized,
    "stretched": lambda p: cv2.resize(p, (224, 224), interpolation=cv2.INTER_LINEAR),
    "crop": lambda p: np.ascontiguousarray(p[10:225, 22:310]),
    "tight crop": lambda p: np.ascontiguousarray(p[20:212, 30:286]),
    "crop, smaller, quality 30": lambda p: recompressed(resized(p[12:230, 5:290])),
    "darker": lambda p: (p * 0.8).astype(np.uint8),
    "blurred": lambda p: cv2.GaussianBlur(p, (0, 0), 1.2),
}


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the nearest windows, in either direction, are found to be the same."""
    a, b = signature(one), signature(other)
    for part, whole, near in (
        (one, other, distances(a[0], b)),
        (other, one, distances(b[0], a)),
    ):
        window = int(near.argmin())
        if near[window] <= 14 and same_picture(reduced(part), reduced(whole), window):
            return True
    return False


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", range(4))
def test_a_changed_copy_is_the_same_picture(change: str, seed: int) -> None:
    """Each way of changing a copy."""
    pixels = texture(seed, SIZE)
    assert alike(pixels, CHANGES[change](pixels))


def test_what_is_drawn_elsewhere_is_another_picture() -> None:
    """The same ground with one thing moved, as in a series of photographs, is no copy."""
    ground = texture(50, SIZE)
    one, other = ground.copy(), ground.copy()
    cv2.circle(one, (120, 100), 40, (250, 240, 10), -1)
    cv2.circle(other, (150, 110), 40, (250, 240, 10), -1)
    assert not alike(one, other)


def test_strangers() -> None:
    """No two of sixty pictures are taken for one."""
    pictures = [texture(600 + k, (96, 128)) for k in range(60)]
    signatures = np.stack([signature(one) for one in pictures])
    for k, one in enumerate(pictures):
        near = distances(signatures[k, 0], signatures)
        near[k] = 64
        other, window = np.unravel_index(near.argmin(), near.shape)
        assert not same_picture(reduced(one), reduced(pictures[int(other)]), int(window))


def test_flat_and_small_pictures_are_not_judged() -> None:
    """Where nothing is to be seen, nothing is said."""
    flat = np.full((100, 100, 3), 90, np.uint8)
    assert not same_picture(reduced(flat), reduced(flat), 0)
    small = texture(1, (20, 20))
    assert not same_picture(reduced(small), reduced(small), 0)


def test_counting_bits_with_and_without_numpy_2() -> None:
    """Both ways count alike."""
    words = np.random.default_rng(0).integers(0, 2**63, (5, len(WINDOWS)), dtype=np.uint64)
    by_hand = [[bin(int(word)).count("1") for word in row] for row in words]
    assert bits_of(words).tolist() == by_hand
    assert likeness._bits_by_table(words).tolist() == by_hand
