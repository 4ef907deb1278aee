"""Pixel values on the device: normalisation, colour jitter, erased rectangles.

Pictures arrive as bytes (or floats of the same 0..255) and leave as floats. `Normalize` does
exactly what `ImageTensorizer` does, operation by operation, so both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.device_steps.device_step import Batch, check_draws, on_device, pictures
from cvtrainer.data.device_steps.draws import Draws
from cvtrainer.data.tensorizer import ImageTensorizer
from cvtrainer.data.transforms.arguments import Range, chance, limits, positive_pair

_FULL = 255.0
_GREY = (0.299, 0.587, 0.114)


class Normalize:
    """Values of 0..255 to (value / 255 - mean) / std in float32, then to `dtype`.

    `normalize` is what ImageTensorizer takes: imagenet, {mean, std}, or null for 0..1 alone.
    """

    def __init__(
        self,
        normalize: str | Mapping[str, Any] | None = "imagenet",
        *,
        dtype: str = "float",
        field: str = "x",
    ) -> None:
        like = ImageTensorizer(normalize, dtype=dtype)
        if not like.dtype.is_floating_point:
            raise UserError(f"Normalize: dtype is {dtype}", todo="Use float, half or bfloat16.")
        self.dtype = like.dtype
        self.field = field
        self._mean = torch.tensor(like.mean).view(-1, 1, 1)
        self._std = torch.tensor(like.std).view(-1, 1, 1)
        # A tensor, because dividing by a number multiplies by its reciprocal on some devices.
        self._full = torch.tensor([_FULL])

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        raw = pictures(batch, self.field, "Normalize")
        if self._mean.device != raw.device:
            self._mean, self._std, self._full = (
                part.to(raw.device) for part in (self._mean, self._std, self._full)
            )
        bands = raw.shape[1]
        if len(self._mean) not in (0, 1, bands):
            raise UserError(
                f"the pictures have {bands} channels, but mean and std {len(self._mean)} values",
                where="device_steps",
                todo="Give normalize: {mean, std} with one value per channel.",
            )
        out = raw.to(torch.float32, copy=True).div_(self._full)
        if len(self._mean):
            out.sub_(self._mean).div_(self._std)
        return {**batch, self.field: out.to(self.dtype)}


class ColorJitter:
    """Brightness, contrast and saturation, in this order, a factor from its range per sample.

    A number n means 1-n..1+n. It comes before Normalize; values stay within 0..255.
    """

    def __init__(
        self,
        *,
        brightness: Range = 0.0,
        contrast: Range = 0.0,
        saturation: Range = 0.0,
        p: float = 1.0,
        field: str = "x",
    ) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)
        self.p = chance("ColorJitter", p)
        self.field = field

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        raw = pictures(batch, self.field, "ColorJitter")
        check_draws(draws, len(raw), "ColorJitter")
        drawn = draws.uniform(4)
        drawn[drawn[:, 0] >= self.p, 1:] = -1.0
        out = raw.float()
        steps = ((self.brightness, _black), (self.contrast, _mean_grey), (self.saturation, _grey))
        for column, (span, pivot) in enumerate(steps, start=1):
            if span == (1.0, 1.0):
                continue
            factors = span[0] + (span[1] - span[0]) * drawn[:, column]
            factors[drawn[:, column] < 0] = 1.0
            factor = on_device(factors, out, torch.float32).view(-1, 1, 1, 1)
            out = torch.lerp(pivot(out), out, factor).clamp_(0.0, _FULL)
        return {**batch, self.field: out}


class RandomErasing:
    """A rectangle of `value`, with probability p; `scale` is its share of the area.

    After Normalize a value of 0 is the mean colour. Labels stay as they are.
    """

    def __init__(
        self,
        *,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] = 0.0,
        field: str = "x",
    ) -> None:
        self.p = chance("RandomErasing", p)
        self.scale = positive_pair("RandomErasing", "scale", scale)
        self.ratio = positive_pair("RandomErasing", "ratio", ratio)
        self.value = torch.tensor(value, dtype=torch.float32).view(-1, 1, 1)
        self.field = field

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        raw = pictures(batch, self.field, "RandomErasing")
        check_draws(draws, len(raw), "RandomErasing")
        height, width = raw.shape[-2:]
        chosen, area, shape, y, x = draws.uniform(5).T
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * area
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        shape = math.e ** (low + (high - low) * shape)
        rows = ((area * height * width * shape) ** 0.5).round().clip(1, height)
        columns = ((area * height * width / shape) ** 0.5).round().clip(1, width)
        rows[chosen >= self.p] = 0
        top = (y * (height - rows + 1)).astype(int)
        left = (x * (width - columns + 1)).astype(int)
        down = _between(raw, height, top, rows)[:, :, None]
        across = _between(raw, width, left, columns)[:, None, :]
        inside = (down & across)[:, None]
        value = self.value.to(raw.device, raw.dtype)
        return {**batch, self.field: torch.where(inside, value, raw)}


def _between(like: Tensor, length: int, first: Any, count: Any) -> Tensor:
    """n x length: true from `first` on, `count` places."""
    places = torch.arange(length, device=like.device)[None]
    start = on_device(first, like)[:, None]
    return (places >= start) & (places < start + on_device(count, like)[:, None])


def _black(values: Tensor) -> Tensor:
    return values.new_zeros(1)


def _grey(values: Tensor) -> Tensor:
    if values.shape[1] != 3:
        return values.mean(dim=1, keepdim=True)
    grey = values[:, :1] * _GREY[0]
    return grey.add_(values[:, 1:2], alpha=_GREY[1]).add_(values[:, 2:], alpha=_GREY[2])


def _mean_grey(values: Tensor) -> Tensor:
    return _grey(values).mean(dim=(1, 2, 3), keepdim=True)


def _factors(word: str, value: Range) -> tuple[float, float]:
    low, high = limits("ColorJitter", word, value, centre=1.0)
    return max(0.0, low), high
