"""Pictures to tensors: channels first, scaled to [0, 1], then normalised.

The arithmetic is exactly (value / 255 - mean) / std in float32, so that an exported graph can
repeat it bit for bit. Bytes have only 256 values, so theirs is looked up.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import IMAGENET_MEAN, IMAGENET_STD
from cvtrainer.data.batch_memory import sample_tensor
from cvtrainer.data.sample import shape_text
from cvtrainer.data.tensorizer.dtypes import number_type

Bytes = NDArray[np.uint8]

_FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


class ImageTensorizer:
    """HWC or HW picture -> CHW tensor.

    `normalize` is `imagenet`, `{mean, std}` in the scale of [0, 1], or None. `dtype: uint8` keeps
    the pixels as they are. `resize` is a side or (height, width), bilinear with antialias.
    """

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(
        self,
        normalize: str | Mapping[str, Any] | None = "imagenet",
        *,
        dtype: str = "float",
        resize: int | Sequence[int] | None = None,
    ) -> None:
        self.dtype = number_type(dtype)
        self.mean, self.std = _mean_and_std(normalize)
        self.resize = _size(resize)
        self._shift = torch.tensor(self.mean).view(-1, 1, 1) if self.mean else None
        self._divide = torch.tensor(self.std).view(-1, 1, 1) if self.std else None
        self._own = _Own()
        if self.mean and not self.dtype.is_floating_point:
            raise UserError(
                f"normalised pixels do not fit into {dtype}",
                where="ImageTensorizer",
                todo="Use dtype: float, or normalize: null.",
            )

    def __call__(self, value: Any) -> Tensor:
        pixels = _picture(value)
        if pixels.dtype == np.uint8 and not self.resize:
            if self.dtype.is_floating_point:
                return self._looked_up(pixels).to(self.dtype)
            out = sample_tensor((pixels.shape[2], *pixels.shape[:2]), torch.uint8)
            _split(pixels, out.numpy())
            return out.to(self.dtype)
        planes, scale = _planes(pixels)
        if not self.dtype.is_floating_point:
            sized = self._resized(planes.float()).round_() if self.resize else planes
            return sized.to(self.dtype).contiguous()
        out = planes.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        return self._scaled(out, scale).to(self.dtype)

    def _looked_up(self, pixels: Bytes) -> Tensor:
        """The same as `_scaled` of bytes, in a third of the time."""
        own = self._own
        bands = pixels.shape[2]
        if own.tables is None or len(own.tables) != bands:
            values = torch.arange(256, dtype=torch.float32).expand(bands, 1, 256)
            own.tables = self._scaled(values.clone(), 255.0)[:, 0].numpy()
        if own.planes is None or own.planes.shape != (bands, *pixels.shape[:2]):
            own.planes = _empty_planes(pixels)
        out = sample_tensor(own.planes.shape, torch.float32)
        planes = zip(_split(pixels, own.planes), own.tables, out.numpy(), strict=True)
        for plane, table, made in planes:
            cv2.LUT(plane, table, dst=made)
        return out

    def _scaled(self, planes: Tensor, scale: float) -> Tensor:
        """Floats in [0, 1], resized and normalised, in place where that can be."""
        if scale != 1.0:
            planes.div_(scale)
        if self.resize:
            planes = self._resized(planes)
        if self._shift is not None and self._divide is not None:
            self._check_bands(planes.shape[0])
            planes.sub_(self._shift).div_(self._divide)
        return planes

    def _resized(self, planes: Tensor) -> Tensor:
        return functional.interpolate(
            planes[None], size=self.resize, mode="bilinear", antialias=True, align_corners=False
        )[0]

    def _check_bands(self, bands: int) -> None:
        if len(self.mean) not in (1, bands):
            raise UserError(
                f"the picture has {bands} channels, but mean and std have {len(self.mean)} values",
                todo="Give normalize: {mean, std} with one value per channel.",
            )


class _Own(threading.local):
    """What a thread keeps from picture to picture; not pickled and made again elsewhere."""

    tables: NDArray[np.float32] | None = None
    planes: Bytes | None = None

    def __reduce__(self) -> tuple[type[_Own], tuple[()]]:
        return _Own, ()


def _picture(value: Any) -> NDArray[Any]:
    """The picture as height x width x channels."""
    pixels = np.asarray(value)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] > 16:
        raise UserError(
            f"not a picture of height x width x channels: {shape_text(pixels)}",
            todo="Give a HWC or HW array.",
        )
    return pixels


def _empty_planes(pixels: Bytes) -> Bytes:
    height, width, bands = pixels.shape
    return np.empty((bands, height, width), np.uint8)


def _split(pixels: Bytes, out: Bytes) -> Bytes:
    """The channels as planes, in that memory."""
    if not pixels.size:
        return out
    if pixels.strides[1:] != (pixels.shape[2], 1) or pixels.strides[0] < 0:
        pixels = np.ascontiguousarray(pixels)
    cv2.split(pixels, list(out))
    return out


def _planes(pixels: NDArray[Any]) -> tuple[Tensor, float]:
    """The picture as CHW and the value that stands for 1.0."""
    if any(stride < 0 for stride in pixels.strides) or not pixels.flags.writeable:
        pixels = pixels.copy()
    scale = _FULL_SCALE.get(pixels.dtype, 1.0)
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(np.int32)
    return torch.from_numpy(pixels).permute(2, 0, 1), scale


def _mean_and_std(
    normalize: str | Mapping[str, Any] | None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if normalize is None:
        return (), ()
    if isinstance(normalize, str):
        if normalize.lower() != "imagenet":
            raise UserError(
                f"no normalisation called {normalize!r}",
                where="ImageTensorizer",
                todo="Use imagenet, {mean: […], std: […]} or null.",
            )
        return IMAGENET_MEAN, IMAGENET_STD
    if set(normalize) != {"mean", "std"}:
        raise UserError(
            f"normalize has {', '.join(sorted(normalize)) or 'nothing'}, not mean and std",
            where="ImageTensorizer",
        )
    mean, std = _numbers(normalize["mean"]), _numbers(normalize["std"])
    if len(mean) != len(std) or not mean or min(std) <= 0.0:
        raise UserError(
            "mean and std must have the same count, std above 0", where="ImageTensorizer"
        )
    if max(map(abs, mean)) > 1.0 or max(std) > 1.0:
        raise UserError(
            "mean and std are in the scale of 0..255, but pixels are scaled to 0..1",
            where="ImageTensorizer",
            todo="Divide them by 255.",
        )
    return mean, std


def _numbers(value: Any) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, int | float) else tuple(float(v) for v in value)


def _size(resize: int | Sequence[int] | None) -> tuple[int, int] | None:
    if resize is None:
        return None
    height, width = (resize, resize) if isinstance(resize, int) else resize
    return int(height), int(width)
