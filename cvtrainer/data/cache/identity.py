"""What a cached value is known by: the content of its source and the form it is kept in.

The state of a file is only a shortcut to that content: it spares reading the file, and is never
trusted for a file so young that it may still be written to within the clock's resolution.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from typing import Literal

from cvtrainer.data.encoded import Encoded, Stamp

Form = Literal["image", "small", "mask"]
"""A picture, a picture that was reduced, or the class numbers of a mask."""

KEY_BYTES = 16
_SETTLED_NS = 2_000_000_000
"""Coarser than the clock of any file system in use."""


def content_key(data: bytes, form: Form) -> bytes:
    """The name of what these bytes become in that form."""
    digest = hashlib.sha256(form.encode())
    digest.update(data)
    return digest.digest()[:KEY_BYTES]


def place_key(encoded: Encoded, stamp: Stamp, form: Form) -> bytes:
    """The name of a place in a file in its present state."""
    digest = hashlib.sha256(struct.pack("<4q", *stamp))
    digest.update(_place(encoded, form))
    return digest.digest()[:KEY_BYTES]


def path_number(encoded: Encoded, form: Form) -> int:
    """A number for that place whatever state its file is in."""
    return int.from_bytes(hashlib.sha256(_place(encoded, form)).digest()[:8], "little")


def is_settled(stamp: Stamp) -> bool:
    """Whether a later change to that file is sure to show in its stamp."""
    return time.time_ns() - max(stamp.ctime_ns, stamp.mtime_ns) > _SETTLED_NS


def _place(encoded: Encoded, form: Form) -> bytes:
    path = os.fsencode(os.path.abspath(encoded.path))
    where = f"\0{encoded.offset}\0{encoded.length}\0{encoded.member}\0{form}"
    return path + where.encode(errors="surrogateescape")
