"""Files that declare more than they hold take no memory before they are refused."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from cvtrainer.data.decode import Decoding, decode_image, image_size
from cvtrainer.data.sample import BadSample

SIDE = 12_000


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@cache
def png_bomb() -> bytes:
    """A PNG of zeros, packed hundreds of times smaller."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + SIDE)) for _ in range(SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(form: str, **settings: object) -> bytes:
    """A small picture as a file."""
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (90, 10, 10)).save(out, form, **settings)
    return out.getvalue()


def jpeg_bomb() -> bytes:
    """A JPEG whose header was changed."""
    data = saved("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", SIDE, SIDE) + data[at + 4 :]


def webp_bomb() -> bytes:
    """A WebP whose canvas was changed; its decoder takes the canvas on opening."""
    side = (SIDE - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + side + side
    body = b"WEBP" + extended + saved("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def icon_bomb() -> bytes:
    """An icon with the packed PNG inside; Pillow decodes icons on opening."""
    inner = png_bomb()
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + inner


def icns_bomb() -> bytes:
    """The same in a Mac icon."""
    inner = png_bomb()
    body = b"ic10" + struct.pack(">I", len(inner) + 8) + inner
    return b"icns" + struct.pack(">I", len(body) + 8) + body


def gif_bomb() -> bytes:
    """A GIF with a large screen."""
    data = saved("GIF")
    return data[:6] + struct.pack("<HH", SIDE, SIDE) + data[10:]


@cache
def tiff_bomb() -> bytes:
    """A TIFF of zeros."""
    out = io.BytesIO()
    Image.new("L", (SIDE, SIDE)).save(out, "TIFF", compression="tiff_adobe_deflate")
    return out.getvalue()


BOMBS = {
    "png": png_bomb,
    "jpeg": jpeg_bomb,
    "webp": webp_bomb,
    "ico": icon_bomb,
    "icns": icns_bomb,
    "gif": gif_bomb,
    "tiff": tiff_bomb,
}

_DECODE = """
import resource, sys
from cvtrainer.data.decode import Decoding, decode_image
from cvtrainer.data.sample import BadSample
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    try:
        decode_image(data, path, Decoding(max_pixels=50_000_000))
        print("decoded", path)
    except BadSample as error:
        print(error.kind)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    for name, make in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", _DECODE, *(str(tmp_path / name) for name in BOMBS)],
        capture_output=True,
        text=True,
        check=True,
    )
    *kinds, grown = done.stdout.split()
    assert kinds == ["bomb"] * len(BOMBS), done.stdout
    assert int(grown) < 60, f"{grown} MB for files that were refused"


@pytest.mark.parametrize("name", BOMBS)
def test_the_size_of_a_bomb_is_refused_too(name: str) -> None:
    with pytest.raises(BadSample) as caught:
        image_size(BOMBS[name](), name, Decoding(max_pixels=1_000_000))
    assert caught.value.kind == "bomb"


def test_a_higher_limit_than_pillows_own_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    for form in ("JPEG", "PNG", "BMP"):
        assert decode_image(saved(form), form).shape == (32, 32, 3)
    assert Image.MAX_IMAGE_PIXELS == 400
