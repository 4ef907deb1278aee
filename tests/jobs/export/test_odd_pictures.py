"""Odd files mean the same to the run, to its package and to artefacts by themselves."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.deploy.odd_images import REFUSED, by_graph, by_package, by_run, exported, trained

pytestmark = pytest.mark.long


def pixels(height: int, width: int) -> np.ndarray:
    """A ramp with a bright disc, so that turns and crops matter."""
    down, across = np.mgrid[0:height, 0:width]
    disc = (down - height / 3) ** 2 + (across - width / 4) ** 2 < (min(height, width) / 4) ** 2
    ramp = np.stack([down * 255 / height, across * 255 / width, 0 * down + 60], axis=-1)
    ramp[disc] = (250, 240, 20)
    return ramp.astype(np.uint8)


def encoded(picture: Image.Image, form: str, **words: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **words)
    return stream.getvalue()


def odd_files() -> Iterator[tuple[str, bytes]]:
    """Names and contents; those that are not pictures begin with `bad`."""
    plain = Image.fromarray(pixels(48, 60))
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turned_{turn}.jpg", encoded(plain, "JPEG", exif=exif, quality=95)
    deep = (np.mgrid[0:40, 0:50][1] * 1310).astype(np.uint16)
    yield "deep.png", encoded(Image.fromarray(deep), "PNG")
    yield "deep.tif", encoded(Image.fromarray(deep), "TIFF")
    palette = plain.quantize(16)
    yield "palette.png", encoded(palette, "PNG", transparency=3)
    yield "palette.gif", encoded(palette, "GIF", transparency=2)
    yield "cmyk.jpg", encoded(plain.convert("CMYK"), "JPEG")
    yield "grey.png", encoded(plain.convert("L"), "PNG")
    yield "one_bit.png", encoded(plain.convert("1"), "PNG")
    clear = plain.convert("RGBA")
    clear.putalpha(Image.fromarray(pixels(48, 60)[:, :, 0]))
    yield "alpha.png", encoded(clear, "PNG")
    yield "alpha.webp", encoded(clear, "WEBP", lossless=True)
    yield "grey_alpha.png", encoded(clear.convert("LA"), "PNG")
    yield "one_row.png", encoded(Image.fromarray(pixels(1, 90)), "PNG")
    yield "one_column.png", encoded(Image.fromarray(pixels(90, 1)), "PNG")
    yield "one_pixel.png", encoded(Image.fromarray(pixels(1, 1)), "PNG")
    yield "long.png", encoded(Image.fromarray(pixels(4, 3000)), "PNG")
    whole = encoded(plain, "JPEG", progressive=True, quality=95)
    yield "progressive.jpg", whole
    yield "interlaced.gif", encoded(palette, "GIF", interlace=1)
    yield "bad_cut.jpg", whole[: len(whole) // 2]
    yield "bad_cut.png", encoded(plain, "PNG")[:-200]
    yield "bad_text.png", b"no picture at all"
    yield "bad_empty.png", b""
    huge = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    yield "bad_bomb.png", bytes(huge)


@pytest.mark.seed("S3-89")
def test_odd_files_are_told_or_refused_alike(tmp_path: Path) -> None:
    run = trained(tmp_path, epochs=4, count=192)
    artefacts, package = exported(run, ["onnx"], "float")
    asked = [by_run(run), by_package(package), *(by_graph(one) for one in artefacts)]
    artefacts, package = exported(run, ["onnx"], "picture")
    asked += [by_package(package), *(by_graph(one) for one in artefacts)]
    assert len(asked) == 5
    told = set()
    for name, content in odd_files():
        (tmp_path / name).write_bytes(content)
        first, *others = (one(tmp_path / name) for one in asked)
        assert [first] * len(others) == others, name
        assert (first == REFUSED) == name.startswith("bad"), name
        told.add(first)
    assert len(told) > 2, "a network that always says the same proves nothing"
