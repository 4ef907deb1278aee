"""Every kind of picture, by the rule that is stated for it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from cvtrainer.core.errors import UserError
from cvtrainer.data.decode import RULES, Decoding, decode_image, decode_mask, image_size
from cvtrainer.data.sample import BadSample

ORIENTATION = 0x0112


def encoded(picture: Image.Image, form: str, **settings: Any) -> bytes:
    """That picture as a file of that format."""
    out = io.BytesIO()
    picture.save(out, form, **settings)
    return out.getvalue()


def grey(values: Any, kind: Any = np.uint8) -> Image.Image:
    """One row of grey values."""
    return Image.fromarray(np.array([values], dtype=kind))


def row(data: bytes, **settings: Any) -> list[list[int]]:
    """The colours of the first row."""
    pixels = decode_image(data, "a", Decoding(**settings))
    assert pixels.dtype == np.uint8
    assert image_size(data, "a") == pixels.shape[:2]
    found: list[list[int]] = pixels[0].tolist()
    return found


def exif(orientation: int) -> Image.Exif:
    """A block that holds an orientation."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


def tall() -> Image.Image:
    """Two pixels wide, one high, to be turned: black, then white."""
    return grey([0, 255]).convert("RGB")


def late_exif(data: bytes) -> bytes:
    """A PNG whose EXIF chunk follows the pixels."""
    at = data.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", data, at)
    chunk = data[at : at + length + 12]
    rest = data.replace(chunk, b"")
    return rest[:-12] + chunk + rest[-12:]


def check_orientation() -> None:
    """All formats that can carry it, and the places where it can stand."""
    with_avif = ("AVIF",) if features.check("avif") else ()
    for form in ("JPEG", "PNG", "WEBP", "TIFF", *with_avif):
        settings = {"quality": 100} if form in ("WEBP", "AVIF") else {}
        data = encoded(tall().resize((32, 16)), form, exif=exif(6), **settings)
        assert decode_image(data, form).shape == (32, 16, 3), form
        assert image_size(data, form) == (32, 16), form
        upright = decode_image(data, form)
        assert upright[0].max() < 60, form
        assert upright[-1].min() > 190, form
    late = late_exif(encoded(tall(), "PNG", exif=exif(6)))
    assert image_size(late, "late") == decode_image(late, "late").shape[:2] == (2, 1)
    xmp = b'<x tiff:Orientation="6"/>'
    data = encoded(tall().resize((32, 16)), "JPEG", xmp=xmp)
    assert decode_image(data, "xmp").shape == (32, 16, 3)


def check_broken_exif() -> None:
    """Cut short, pointing outside, of no known kind."""
    whole = exif(6).tobytes()
    for block in (whole[:9], whole[:16], b"Exif\0\0junkjunk", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        for form in ("JPEG", "PNG", "WEBP"):
            data = encoded(tall(), form, exif=block)
            assert decode_image(data, form).shape == (1, 2, 3), (form, block)
            assert image_size(data, form) == (1, 2)


def check_grey() -> None:
    for form in ("PNG", "BMP", "TIFF"):
        assert row(encoded(grey([0, 7, 255]), form)) == [[0] * 3, [7] * 3, [255] * 3]


def check_one_bit() -> None:
    picture = grey([0, 255, 0]).convert("1")
    for form in ("PNG", "TIFF", "BMP"):
        assert row(encoded(picture, form)) == [[0] * 3, [255] * 3, [0] * 3]


def check_palette() -> None:
    picture = Image.frombytes("P", (3, 1), bytes([2, 0, 1]))
    picture.putpalette([1, 2, 3, 4, 5, 6, 7, 8, 9])
    for form in ("PNG", "GIF", "TIFF"):
        assert row(encoded(picture, form)) == [[7, 8, 9], [1, 2, 3], [4, 5, 6]]


def check_alpha() -> None:
    colours = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], np.uint8)
    expected = [[255] * 3, [10, 20, 30], [127] * 3]
    assert row(encoded(Image.fromarray(colours), "PNG")) == expected
    assert row(encoded(Image.fromarray(colours), "TIFF")) == expected
    both = Image.fromarray(colours).convert("LA")
    assert row(encoded(both, "PNG"))[0] == [255] * 3
    assert row(encoded(tall(), "PNG", transparency=(0, 0, 0))) == [[255] * 3] * 2
    palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    palette.putpalette([1, 2, 3, 4, 5, 6])
    for form in ("PNG", "GIF"):
        assert row(encoded(palette, form, transparency=0)) == [[255] * 3, [4, 5, 6]]
    deep = grey([5, 65535], np.uint16)
    assert row(encoded(deep, "PNG", transparency=5)) == [[255] * 3, [255] * 3]


def check_cmyk() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = 255
    cyan = Image.fromarray(inks, "CMYK")
    for form, settings in (("JPEG", {"quality": 100}), ("TIFF", {})):
        pixels = decode_image(encoded(cyan, form, **settings), form)
        assert np.abs(pixels.astype(int) - [0, 255, 255]).max() <= 3, form


def check_ycbcr() -> None:
    data = encoded(Image.new("YCbCr", (16, 16), (255, 128, 128)), "JPEG", quality=100)
    assert decode_image(data, "a").min() >= 253
    data = encoded(Image.new("YCbCr", (16, 16), (76, 85, 255)), "TIFF")
    assert np.abs(decode_image(data, "a")[0, 0].astype(int) - [254, 0, 0]).max() <= 3


def check_lab() -> None:
    picture = Image.new("RGB", (4, 4), (200, 30, 60))
    lab = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    pixels = decode_image(encoded(lab, "TIFF"), "a")
    assert np.abs(pixels.astype(int) - [200, 30, 60]).max() <= 3


def check_deep_grey() -> None:
    deep = grey([0, 257, 32896, 65535], np.uint16)
    for form in ("PNG", "TIFF"):
        assert row(encoded(deep, form)) == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]
    dark = grey([0, 200], np.uint16)
    assert row(encoded(dark, "PNG")) == [[0] * 3, [1] * 3]


def check_deep_colour() -> None:
    header = b"P6 2 1 65535\n"
    deep = np.array([0, 257, 32896, 65535, 0x1234, 0], dtype=">u2").tobytes()
    assert row(header + deep) == [[0, 1, 128], [255, 0x12, 0]]


def check_wide_grey() -> None:
    wide = grey([-5, 0, 257, 65535, 99999], np.int32)
    assert [p[0] for p in row(encoded(wide, "TIFF"))] == [0, 0, 1, 255, 255]


def check_float_grey() -> None:
    for values, expected in (
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 1.0, 255.0], [0, 1, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([float("nan"), -1.0, 1.0], [0, 0, 255]),
    ):
        assert [p[0] for p in row(encoded(grey(values, np.float32), "TIFF"))] == expected


def check_frames() -> None:
    first, second = Image.new("RGB", (4, 2), (255, 0, 0)), Image.new("RGB", (4, 2), (0, 0, 255))
    for form, settings in (
        ("GIF", {}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("MPO", {"quality": 100}),
    ):
        data = encoded(first, form, save_all=True, append_images=[second], **settings)
        assert np.abs(decode_image(data, form).astype(int) - [255, 0, 0]).max() <= 2, form


def check_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert row(encoded(tall(), "PNG", icc_profile=profile)) == [[0] * 3, [255] * 3]


def check_bomb() -> None:
    data = encoded(tall().resize((30, 20)), "PNG")
    assert decode_image(data, "a", Decoding(max_pixels=600)).shape == (20, 30, 3)
    with pytest.raises(BadSample, match="30x20 pixels are more than max_pixels") as caught:
        decode_image(data, "a", Decoding(max_pixels=599))
    assert caught.value.kind == "bomb"


def check_truncated() -> None:
    data = encoded(tall().resize((64, 64)), "JPEG")[:-20]
    with pytest.raises(BadSample) as caught:
        decode_image(data, "a.jpg")
    assert caught.value.kind == "truncated"
    assert decode_image(data, "a.jpg", Decoding(truncated="load")).shape == (64, 64, 3)
    with pytest.raises(UserError) as stopped:
        decode_image(data, "a.jpg", Decoding(truncated="error"))
    assert not isinstance(stopped.value, BadSample)


def check_outside_programs() -> None:
    with pytest.raises(BadSample, match="not an image that can be read"):
        decode_image(encoded(tall(), "EPS"), "a.eps")


CASES: dict[str, Callable[[], None]] = {
    "orientation": check_orientation,
    "broken EXIF": check_broken_exif,
    "grey": check_grey,
    "1-bit": check_one_bit,
    "palette": check_palette,
    "alpha": check_alpha,
    "CMYK": check_cmyk,
    "YCbCr": check_ycbcr,
    "LAB": check_lab,
    "16-bit grey": check_deep_grey,
    "16-bit colour": check_deep_colour,
    "32-bit grey": check_wide_grey,
    "float grey": check_float_grey,
    "several frames": check_frames,
    "colour profile": check_profile,
    "bomb": check_bomb,
    "truncated": check_truncated,
    "outside programs": check_outside_programs,
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule: str) -> None:
    CASES[rule]()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"truncated": "skip"}, "none of replace, load, error"), ({"max_pixels": 0}, "at least 1")],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Decoding(**settings)


def test_the_key_tells_settings_apart() -> None:
    kinds = [
        Decoding(),
        Decoding(truncated="load"),
        Decoding(scaled=True),
        Decoding(max_pixels=5),
    ]
    assert len({kind.key() for kind in kinds}) == 4
    assert Decoding().key() == Decoding(truncated="replace").key()


def test_masks_of_other_kinds_are_bad_samples() -> None:
    numbers = grey([0, 3, 255], np.uint16)
    assert decode_mask(encoded(numbers, "PNG"), "m").tolist() == [[0, 3, 255]]
    for picture in (grey([256], np.uint16), Image.new("RGBA", (2, 2))):
        with pytest.raises(BadSample) as caught:
            decode_mask(encoded(picture, "PNG"), "m")
        assert caught.value.kind == "annotation"
    turned = encoded(grey([1, 2]), "PNG", exif=exif(6))
    assert decode_mask(turned, "m").tolist() == [[1], [2]]
    bits = encoded(grey([0, 255]).convert("1"), "PNG")
    assert decode_mask(bits, "m").tolist() == [[0, 1]]
    whole = encoded(Image.effect_noise((60, 60), 90), "PNG")
    with pytest.raises(BadSample) as cut:
        decode_mask(whole[: len(whole) // 2], "m", Decoding(truncated="load"))
    assert cut.value.kind == "truncated"
