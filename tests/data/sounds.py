"""WAV files as bytes, in every way of writing samples that the tests need."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np


def wav_bytes(
    samples: np.ndarray[Any, Any],
    rate: int,
    *,
    bits: int = 16,
    floating: bool = False,
    extensible: bool = False,
) -> bytes:
    """A WAV file of [T] or [C, T] samples within [-1, 1]."""
    channels = 1 if samples.ndim == 1 else samples.shape[0]
    flat = np.atleast_2d(samples).T.reshape(-1).astype(np.float64)
    body = _body(flat, bits, floating)
    tag = 3 if floating else 1
    frame = channels * bits // 8
    head = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * frame, frame, bits
    )
    if extensible:
        guid_end = bytes.fromhex("000000001000800000aa00389b71")
        head += struct.pack("<HHIH", 22, bits, 0, tag) + guid_end
    chunks = b"fmt " + struct.pack("<I", len(head)) + head
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _body(flat: np.ndarray[Any, Any], bits: int, floating: bool) -> bytes:
    if floating:
        return flat.astype(f"<f{bits // 8}").tobytes()
    full = 2 ** (bits - 1)
    whole = np.clip(np.round(flat * full), -full, full - 1).astype(np.int64)
    if bits == 8:
        return (whole + 128).astype(np.uint8).tobytes()
    if bits == 24:
        return whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{bits // 8}").tobytes()
