"""What the first bytes of a JPEG say, read in a few microseconds: size and orientation.

Only files of the ordinary kind are described; whatever is odd is left to Pillow by saying None.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

_ORIENTATION = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I"}
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)
_TABLES = range(0xC4, 0xFF)
"""Markers that a length follows; frames of other kinds are among them and refused below."""
_OTHER_FRAMES = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))


class JpegHeader(NamedTuple):
    """Size as stored, and how the picture is to be turned (EXIF numbers 1 to 8)."""

    height: int
    width: int
    orientation: int


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """The header of an ordinary JPEG: 8 bits, grey or three colours, nothing odd on the way."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    at, end = 2, len(data)
    size: tuple[int, int] | None = None
    exif = xmp = b""
    while at + 4 <= end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = (data[at + 2] << 8) | data[at + 3]
        body, at = at + 4, at + 2 + length
        if length < 2 or at > end:
            return None
        if marker == _START_OF_SCAN:
            return None if size is None else JpegHeader(*size, _orientation(exif, xmp))
        if marker in _PLAIN_FRAMES:
            if size is not None or data[body] != 8 or data[body + 5] not in (1, 3):
                return None
            size = struct.unpack_from(">HH", data, body + 1)
            if 0 in size:
                return None
        elif marker in _OTHER_FRAMES or marker not in _TABLES:
            return None
        elif marker == _APP1:
            if data.startswith(_EXIF, body):
                if exif:
                    return None
                exif = data[body + len(_EXIF) : at]
            elif data.startswith(_XMP, body):
                xmp = data[body:at]
    return None


def exif_orientation(block: bytes) -> int | None:
    """The orientation in an EXIF block (from its byte order on); None where there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return None
    try:
        (entries,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, entries)
        for k in range(count):
            at = entries + 2 + 12 * k
            tag, kind, values = struct.unpack_from(order + "HHI", block, at)
            if tag == _ORIENTATION:
                if kind not in _FORMATS or values != 1:
                    return None
                return int(struct.unpack_from(order + _FORMATS[kind], block, at + 8)[0])
    except struct.error:
        return None
    return None


def _orientation(exif: bytes, xmp: bytes) -> int:
    found = exif_orientation(exif) if exif else None
    if found is None and xmp:
        match = _XMP_ORIENTATION.search(xmp)
        found = int(match[1]) if match else None
    return 1 if found is None else found
