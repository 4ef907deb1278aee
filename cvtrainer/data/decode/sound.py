"""Sound files to numbers: WAV with whole or floating-point samples, as float32 within [-1, 1].

The parser works on bytes and keeps nothing, so it runs in any thread. What cannot be heard as
written (cut off, compressed, no WAV at all) is a bad sample. Changing the rate is done with a
windowed sinc per phase, centred, so that nothing is shifted in time.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import ceil, gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvtrainer.data.sample import BadSample

SOUND_EXTENSIONS = (".wav", ".wave")

Samples = NDArray[np.float32]

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_NAMES = {0x0002: "ADPCM", 0x0006: "A-law", 0x0007: "mu-law", 0x0011: "ADPCM", 0x0055: "MP3"}
_LENGTH_UNKNOWN = 0xFFFFFFFF
_ZERO_CROSSINGS = 16
_BLOCK = 1 << 14


class Sound(NamedTuple):
    """Samples ([T] for one channel, [C, T] for several) and how many there are in a second."""

    samples: Samples
    rate: int


class _Format(NamedTuple):
    tag: int
    channels: int
    rate: int
    width: int
    """Bytes of one sample of one channel."""


def decode_sound(data: bytes, name: str, *, rate: int | None = None, mono: bool = False) -> Sound:
    """The sound in those bytes; `mono` takes the mean of all channels, `rate` resamples."""
    layout, body = _chunks(data, name)
    frame = layout.width * layout.channels
    if not body:
        raise _bad("it holds no sound", name)
    if len(body) % frame:
        raise _bad(f"the sound ends inside a frame of {frame} bytes", name)
    samples = _numbers(body, layout, name).reshape(-1, layout.channels).T
    if mono:
        samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
    samples = np.ascontiguousarray(samples)
    heard = samples[0] if samples.shape[0] == 1 else samples
    if rate is None or rate == layout.rate:
        return Sound(heard, layout.rate)
    return Sound(resample(heard, layout.rate, rate), rate)


def resample(samples: Samples, rate: int, wanted: int) -> Samples:
    """The same sound with `wanted` samples a second, along the last dimension.

    Polyphase windowed sinc (Hann, 16 zero crossings each side), silent beyond both ends; there are
    ceil(length x wanted / rate) samples afterwards.
    """
    if rate == wanted:
        return samples
    common = gcd(rate, wanted)
    up, down = wanted // common, rate // common
    bank = _filters(up, down)
    half = bank.shape[1] // 2
    length = ceil(samples.shape[-1] * up / down)
    ticks = np.arange(length, dtype=np.int64) * down
    padded = np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(half, half + 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, bank.shape[1], axis=-1)
    out = np.empty((*samples.shape[:-1], length), dtype=np.float32)
    for begin in range(0, length, _BLOCK):
        at = ticks[begin : begin + _BLOCK]
        out[..., begin : begin + _BLOCK] = np.einsum(
            "...nk,nk->...n", windows[..., at // up, :], bank[at % up]
        )
    return out


@lru_cache(maxsize=8)
def _filters(up: int, down: int) -> NDArray[np.float32]:
    """One filter for each place between two samples; each passes a constant unchanged."""
    cutoff = min(1.0, up / down)
    half = ceil(_ZERO_CROSSINGS / cutoff)
    taps = np.arange(-half, half + 1, dtype=np.float64)
    at = taps[None, :] - np.arange(up, dtype=np.float64)[:, None] / up
    window = np.where(np.abs(at) < half, 0.5 + 0.5 * np.cos(np.pi * at / half), 0.0)
    bank = np.sinc(at * cutoff) * window
    bank /= bank.sum(axis=1, keepdims=True)
    found: NDArray[np.float32] = bank.astype(np.float32)
    found.setflags(write=False)
    return found


def _chunks(data: bytes, name: str) -> tuple[_Format, memoryview]:
    """How the samples are written, and their bytes."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _bad("not a WAV file" if data else "the file is empty", name)
    view = memoryview(data)
    layout: _Format | None = None
    place = 12
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if kind == b"fmt ":
            layout = _layout(bytes(view[place : place + size]), name)
        elif kind == b"data":
            if layout is None:
                raise _bad("the samples come before their format", name)
            there = len(data) - place
            if size == _LENGTH_UNKNOWN:
                size = there
            if size > there:
                raise _bad(f"cut off: {there} of {size} bytes of sound are there", name)
            return layout, view[place : place + size]
        place += size + size % 2
    raise _bad("cut off: it ends before the sound begins", name)


def _layout(chunk: bytes, name: str) -> _Format:
    if len(chunk) < 16:
        raise _bad("cut off inside its header", name)
    tag, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    if tag not in (_PCM, _FLOAT):
        what = _NAMES.get(tag, f"format {tag:#06x}")
        raise _bad(f"the sound is written as {what}", name, todo="Write it as PCM or float WAV.")
    if not channels or not rate or frame % channels:
        raise _bad(f"{channels} channels, {rate} samples a second, {frame} bytes a frame", name)
    width = frame // channels
    if width not in ((1, 2, 3, 4) if tag == _PCM else (4, 8)) or bits > 8 * width:
        raise _bad(f"samples of {bits} bits in {width} bytes cannot be read", name)
    return _Format(tag, channels, rate, width)


def _numbers(body: memoryview, layout: _Format, name: str) -> Samples:
    if layout.tag == _FLOAT:
        floats: NDArray[Any] = np.frombuffer(body, dtype=f"<f{layout.width}")
        if not np.isfinite(floats).all():
            raise _bad("a sample is not a finite number", name)
        return floats.clip(-1.0, 1.0).astype(np.float32)
    if layout.width == 1:
        return (np.frombuffer(body, dtype=np.uint8).astype(np.float32) - 128.0) / 128.0
    if layout.width == 3:
        wide = np.zeros((len(body) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(body, dtype=np.uint8).reshape(-1, 3)
        whole: NDArray[Any] = wide.view("<i4")[:, 0]
        return (whole / 2.0**31).astype(np.float32)
    whole = np.frombuffer(body, dtype=f"<i{layout.width}")
    return (whole / 2.0 ** (8 * layout.width - 1)).astype(np.float32)


def _bad(what: str, name: str, *, todo: str | None = None) -> BadSample:
    return BadSample(what, kind="sound", where=name, todo=todo)
