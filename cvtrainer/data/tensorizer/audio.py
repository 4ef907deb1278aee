"""Sounds to tensors: the waveform, or its power in bands as the ear hears them.

Samples come as [T] or [C, T] within [-1, 1]. Longer sounds are cut at the end, shorter ones get
silence behind them; random cuts are a matter of transforms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, shape_text
from cvtrainer.data.tensorizer.dtypes import number_type
from cvtrainer.data.tensorizer.sequences import fitted


class AudioTensorizer:
    """A sound -> [C, T]; [1, T] with `mono`, which takes the mean of the channels.

    `seconds` with the `sample_rate` of the data gives every sound the same length.
    """

    thread_safe = True

    def __init__(
        self,
        seconds: float | None = None,
        *,
        sample_rate: int | None = None,
        mono: bool = True,
        dtype: str = "float",
    ) -> None:
        self.length = _length(seconds, sample_rate, "AudioTensorizer")
        self.mono = mono
        self.dtype = number_type(dtype)
        self.ragged_dim = 1 if self.length is None else None

    def __call__(self, value: Any) -> Tensor:
        sound = _sound(value, mono=self.mono)
        if self.length is not None:
            sound = fitted(sound, self.length, dim=1, fill=0.0)
        return sound.to(self.dtype)


class LogMelTensorizer:
    """A sound -> [1, mels, frames]: the logarithm of the power in bands of equal pitch.

    Hann windows of `window` seconds every `step` seconds, centred, `mels` triangular bands from 0
    to half the sample rate on the mel scale (2595 log10(1 + f / 700)), natural logarithm of power
    plus 1e-6; `normalize: {mean, std}` takes a mean from it and divides by a deviation. `layout:
    series` gives [frames, mels] instead, in which a band is a channel.
    """

    thread_safe = True

    def __init__(
        self,
        sample_rate: int,
        *,
        mels: int = 64,
        window: float = 0.025,
        step: float = 0.01,
        seconds: float | None = None,
        normalize: Mapping[str, float] | None = None,
        layout: Literal["picture", "series"] = "picture",
        dtype: str = "float",
    ) -> None:
        self.mean, self.std = _spread(normalize)
        if layout not in ("picture", "series"):
            raise UserError(
                f"layout is {layout!r}", where="LogMelTensorizer", todo="picture or series."
            )
        self.layout = layout
        self.length = _length(seconds, sample_rate, "LogMelTensorizer")
        self.step = max(1, round(step * sample_rate))
        self.dtype = number_type(dtype)
        ragged = 2 if layout == "picture" else 0
        self.ragged_dim = ragged if self.length is None else None
        width = round(window * sample_rate)
        if width < 2 or mels < 1:
            raise UserError(f"window {window} s with {mels} bands", where="LogMelTensorizer")
        self._points = 1 << (width - 1).bit_length()
        self._window = torch.hann_window(width)
        self._bands = mel_bands(sample_rate, self._points, mels)

    def __call__(self, value: Any) -> Tensor:
        sound = _sound(value, mono=True)
        if self.length is not None:
            sound = fitted(sound, self.length, dim=1, fill=0.0)
        waves = torch.stft(
            sound,
            self._points,
            hop_length=self.step,
            win_length=len(self._window),
            window=self._window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = waves.real.square() + waves.imag.square()
        heard = (torch.log(self._bands @ power + 1e-6) - self.mean) / self.std
        return (heard if self.layout == "picture" else heard[0].T.contiguous()).to(self.dtype)


def _spread(normalize: Mapping[str, float] | None) -> tuple[float, float]:
    """Mean and deviation; 0 and 1 where nothing is wished."""
    wanted = {"mean": 0.0, "std": 1.0, **(normalize or {})}
    if len(wanted) > 2 or not wanted["std"] > 0:
        raise UserError(
            f"normalize is {dict(normalize or {})}",
            where="LogMelTensorizer",
            todo="Give {mean: ..., std: ...}, std above 0.",
        )
    return float(wanted["mean"]), float(wanted["std"])


def mel_bands(sample_rate: int, points: int, mels: int) -> Tensor:
    """Weights [mels, points / 2 + 1] of triangular bands; each begins where the one before peaks.

    A band narrower than the distance of two frequencies takes the nearest of them.
    """
    frequencies = np.linspace(0.0, sample_rate / 2, points // 2 + 1)
    top = 2595.0 * np.log10(1.0 + sample_rate / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, mels + 2) / 2595.0) - 1.0)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - low) / (middle - low)
    falling = (high - frequencies) / (high - middle)
    bands = np.clip(np.minimum(rising, falling), 0.0, None)
    for band in np.flatnonzero(bands.sum(axis=1) == 0.0):
        bands[band, np.abs(frequencies - edges[band + 1]).argmin()] = 1.0
    return torch.from_numpy(bands.astype(np.float32))


def _sound(value: Any, *, mono: bool) -> Tensor:
    samples = np.array(value, dtype=np.float32)
    if samples.ndim == 1:
        samples = samples[None]
    if samples.ndim != 2 or (samples.shape[0] > samples.shape[1] > 0):
        raise UserError(
            f"not a sound of channels x samples: {shape_text(value)}", todo="Give [T] or [C, T]."
        )
    if not samples.shape[1]:
        raise BadSample("the sound is empty", kind="sound")
    if not np.isfinite(samples).all():
        raise BadSample("a sample of the sound is not a finite number", kind="sound")
    sound = torch.from_numpy(samples)
    return sound.mean(dim=0, keepdim=True) if mono else sound


def _length(seconds: float | None, sample_rate: int | None, where: str) -> int | None:
    if seconds is None:
        return None
    if sample_rate is None or seconds <= 0:
        raise UserError(
            f"{seconds} seconds at sample_rate {sample_rate}",
            where=where,
            todo="Give seconds above 0 together with the sample_rate of the data.",
        )
    return max(1, round(seconds * sample_rate))
