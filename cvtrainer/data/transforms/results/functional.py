"""Functional forms that data sets written for `results` call themselves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import shape_text

_FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def to_tensor(img: NDArray[np.generic], *, keep_dtype: bool = False) -> Tensor:
    """A picture (height x width x channels, or height x width) as a CHW tensor of its own memory.

    Bytes become float32 of 0..1 (value / 255, 16-bit values / 65535), any other type stays;
    `keep_dtype` keeps bytes too. A picture without channels gets one.
    """
    pixels = np.asarray(img)
    if pixels.ndim not in (2, 3):
        raise UserError(
            f"to_tensor takes a picture of height x width x channels, not {shape_text(pixels)}"
        )
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    planes = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
    scale = None if keep_dtype else _FULL_SCALE.get(pixels.dtype)
    return planes if scale is None else planes.to(torch.float32).div_(scale)
