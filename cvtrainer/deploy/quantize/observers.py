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

_SMALLEST = 1e-8
"""The step of a tensor that is always zero."""


class CalibratedObserver(ObserverBase):  # type: ignore[misc]
    """The range of one activation by a calibrator of ours."""

    def __init__(
        self,
        method: str = "mse",
        percentile: float = 99.99,
        symmetric: bool = False,
        dtype: torch.dtype = torch.int8,
        quant_min: int = -128,
        quant_max: int = 127,
        **torchaos: Any,
    ) -> None:
        super().__init__(dtype=dtype)
        self.method = method
        self.percentile = percentile
        self.symmetric = symmetric
        self.quant_min = quant_min
        self.quant_max = quant_max
        self.qscheme = torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine
        self.ch_axis = -1
        self.histogram = Histogram()

    def forward(self, values: Tensor) -> Tensor:
        self.histogram.add(values)
        return values

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Scale and zero point of the range."""
        low, high = span_of(self.histogram, self.method, percentile=self.percentile)
        levels = self.quant_max - self.quant_min
        if self.symmetric:
            step = max(max(-low, high) / (levels / 2), _SMALLEST)
            return torch.tensor([step]), torch.zeros(1, dtype=torch.int64)
        step = max((high - low) / levels, _SMALLEST)
        zero = round(self.quant_min - low / step)
        zero = min(max(zero, self.quant_min), self.quant_max)
        return torch.tensor([step]), torch.tensor([zero])
