"""Decoding: every kind of file becomes upright RGB bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.decode import read_image, read_mask, to_rgb


def _marked() -> Image.Image:
    """Black, with a white block in the upper left."""
    picture = Image.new("RGB", (32, 16))
    picture.paste((255, 255, 255), (0, 0, 8, 8))
    return picture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = _marked().transpose(undo[orientation]) if orientation in undo else _marked()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "a.jpg")
    assert pixels.shape == (16, 32, 3)
    assert pixels[:6, :6].min() > 200
    assert pixels[:, 12:].max() < 50


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_rgb_bytes(tmp_path: Path, mode: str) -> None:
    deep = np.tile(np.linspace(0, 65535, 16), (8, 1))
    if mode == "I;16":
        picture = Image.fromarray(deep.astype(np.uint16))
    elif mode == "I":
        picture = Image.fromarray(deep.astype(np.int32))
    elif mode == "F":
        picture = Image.fromarray((deep / 65535).astype(np.float32))
    else:
        grey = Image.fromarray((deep / 257).astype(np.uint8))
        picture = (grey.convert("RGB") if mode == "CMYK" else grey).convert(mode)
    picture.save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif")
    assert pixels.shape == (8, 16, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0].max() <= 3
    assert pixels[0, -1].min() >= 252


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").min() == 255


def test_masks_keep_their_numbers(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(numbers).convert("P")
    picture.save(tmp_path / "p.png")
    Image.fromarray(numbers).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "l.png"), numbers)
    assert read_mask(tmp_path / "p.png").shape == (3, 4)
    Image.new("RGB", (3, 4)).save(tmp_path / "rgb.png")
    with pytest.raises(UserError, match="a mask file of mode RGB"):
        read_mask(tmp_path / "rgb.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: no such image file"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "settings", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 40}]
)
def test_the_quick_way_for_jpegs_gives_the_same_pixels(
    tmp_path: Path, mode: str, settings: dict[str, Any]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "a.jpg", **settings)
    slow = to_rgb(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), slow)


def test_a_cut_jpeg_is_an_error_and_harmless_oddities_are_none(tmp_path: Path) -> None:
    _marked().save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) - 40])
    with pytest.raises(UserError, match=r"cut\.jpg: the image is cut off"):
        read_image(tmp_path / "cut.jpg")
    table = whole.index(b"\xff\xdb")
    (tmp_path / "odd.jpg").write_bytes(whole[:table] + b"\0\0\0" + whole[table:])
    assert read_image(tmp_path / "odd.jpg").shape == (16, 32, 3)
