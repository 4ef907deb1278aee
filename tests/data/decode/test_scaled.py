"""Decoding fewer pixels: never fewer than asked for, and the same picture."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from cvtrainer.data.decode import Decoding, decode_image, image_size
from cvtrainer.data.sample import BadSample

SCALED = Decoding(scaled=True)


def photo(height: int, width: int, orientation: int = 1, form: str = "JPEG") -> bytes:
    """Soft colours with some texture."""
    rng = np.random.default_rng(1)
    rough = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    soft = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    settings = {"quality": 92} if form == "JPEG" else {}
    Image.fromarray(soft).save(out, form, exif=exif, **settings)
    return out.getvalue()


@pytest.mark.parametrize(
    ("size", "need", "expected"),
    [
        ((400, 600), (200, 300), (200, 300)),
        ((400, 600), (201, 10), (400, 600)),
        ((401, 601), (100, 100), (101, 151)),
        ((400, 600), (50, 75), (50, 75)),
        ((400, 600), (1, 1), (50, 75)),
        ((400, 600), (400, 600), (400, 600)),
        ((400, 600), (900, 900), (400, 600)),
    ],
)
def test_the_smallest_that_is_enough(
    size: tuple[int, int], need: tuple[int, int], expected: tuple[int, int]
) -> None:
    pixels = decode_image(photo(*size), "a", SCALED, at_least=need)
    assert pixels.shape[:2] == expected


def test_what_is_asked_for_counts_upright() -> None:
    data = photo(400, 600, orientation=6)
    assert image_size(data, "a") == (600, 400)
    assert decode_image(data, "a", SCALED, at_least=(300, 100)).shape == (300, 200, 3)
    assert decode_image(data, "a", SCALED, at_least=(100, 201)).shape == (600, 400, 3)


def test_it_is_the_same_picture() -> None:
    for orientation in (1, 3, 8):
        data = photo(480, 640, orientation)
        full = decode_image(data, "a")
        small = decode_image(data, "a", SCALED, at_least=(224, 224))
        assert small.shape[0] < full.shape[0]
        size = small.shape[1::-1]
        shrunk = cv2.resize(full, size, interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk.astype(int) - small).mean() < 1.5


def test_only_where_it_was_chosen_and_can_be_done() -> None:
    assert decode_image(photo(400, 600), "a", at_least=(10, 10)).shape == (400, 600, 3)
    png = photo(40, 60, form="PNG")
    assert decode_image(png, "a", SCALED, at_least=(10, 10)).shape == (40, 60, 3)


def test_a_cut_file_is_seen_at_any_scale() -> None:
    data = photo(400, 600)
    with pytest.raises(BadSample) as caught:
        decode_image(data[:-2], "a", SCALED, at_least=(10, 10))
    assert caught.value.kind == "truncated"
