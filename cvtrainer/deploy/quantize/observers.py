"""What looks at values while a calibration sample runs, and turns ranges into scale and zero point.

Also for whole batches at once: torchao places these in the graph and asks them at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchao.quantization.pt2e.observer import ObserverBase

from cvtrainer.deploy.quantize.calibrators import span_of
from cvtrainer.deploy.quantize.histogram import Histogram
from cvtrainer.deploy.quantize.scheme import Scheme

_SMALLEST = 1e-8
"""The step of a tensor that is always zero."""


class CalibratedObserver(ObserverBase):  # type: ignore[misc]
    """The range of one activation by a calibrator of ours."""

    def __init__(
        self,
        scheme: Scheme,
        dtype: torch.dtype = torch.int8,
        quant_min: int = -128,
        quant_max: int = 127,
        qscheme: torch.qscheme = torch.per_tensor_affine,
        ch_axis: int | None = None,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype=dtype, is_dynamic=is_dynamic)
        self.scheme = scheme
        self.quant_min = quant_min
        self.quant_max = quant_max
        self.qscheme = qscheme
        self.ch_axis = ch_axis
        self.histogram = Histogram()
        self.watching = True

    def forward(self, values: Tensor) -> Tensor:
        if self.watching:
            self.histogram.add(values)
        return values

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Scale and zero point of the range."""
        scheme = self.scheme
        low, high = span_of(
            self.histogram,
            scheme.method,
            percentile=scheme.percentile,
            symmetric=scheme.symmetric,
        )
        levels = self.quant_max - self.quant_min
        if self.scheme.symmetric:
            step = max(max(-low, high) / (levels / 2), _SMALLEST)
            return torch.tensor([step]), torch.zeros(1, dtype=torch.int64)
        step = max((high - low) / levels, _SMALLEST)
        zero = round(self.quant_min - low / step)
        zero = min(max(zero, self.quant_min), self.quant_max)
        return torch.tensor([step]), torch.tensor([zero])
