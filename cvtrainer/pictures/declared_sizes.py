"""What is read before a format's own reader reads, because that would take memory or time.

Pillow asks for the size first and decodes later, except where a decoder needs its canvas at once
(WebP) or a file holds whole pictures of its own (icons).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_TURNING = (b"Raw profile type exif", b"XML:com.adobe.xmp")


def early_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) of everything that would be allocated on opening; nothing for the others."""
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            yield from _webp(data)
        elif data[:4] == b"\0\0\1\0":
            yield from _icon(data)
        elif data[:4] == b"icns":
            yield from _inner_pngs(data)
    except (struct.error, IndexError):
        return


def cut_off(data: bytes) -> bool:
    """Whether a WebP says itself that it should be longer."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return False
    (length,) = struct.unpack_from("<I", data, 4)
    return int(length) + 8 > len(data)


def png_may_be_turned(data: bytes) -> bool:
    """Whether a PNG holds something that may name an orientation, wherever it lies in the file."""
    at = len(_PNG)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"eXIf" or (kind in _TEXTS and data.startswith(_TURNING, at + 8)):
            return True
        at += length + 12
    return False


def _webp(data: bytes) -> Iterator[tuple[int, int]]:
    kind = data[12:16]
    if kind == b"VP8X":
        yield _three_bytes(data, 24) + 1, _three_bytes(data, 27) + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        yield (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        yield width & 0x3FFF, height & 0x3FFF


def _three_bytes(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16


def _icon(data: bytes) -> Iterator[tuple[int, int]]:
    (count,) = struct.unpack_from("<H", data, 4)
    for k in range(count):
        (at,) = struct.unpack_from("<I", data, 6 + 16 * k + 12)
        if data[at : at + 8] == _PNG:
            yield struct.unpack_from(">II", data, at + 16)
        else:
            width, height = struct.unpack_from("<ii", data, at + 4)
            yield abs(width), abs(height) // 2


def _inner_pngs(data: bytes) -> Iterator[tuple[int, int]]:
    at = data.find(_PNG)
    while at >= 0:
        yield struct.unpack_from(">II", data, at + 16)
        at = data.find(_PNG, at + 1)
