"""Rounding to 8 bits that gradients pass through, for training and for what follows from it.

A range follows the smallest and largest values of training by a moving average; of those it keeps
the share that a calibrator chose before training began. Only the two ends are remembered: scale
and zero point follow from them, so that averaged weights come with averaged ranges that fit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchao.quantization.pt2e.observer import ObserverBase

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.calibrators import span_of
from cvtrainer.deploy.quantize.histogram import Histogram

_SMALLEST = 1e-8
"""The step of a tensor that is always zero."""
SHARE = 0.01
"""How far the ends of a range move towards those of a batch."""


class FollowedRange(ObserverBase):  # type: ignore[misc]
    """Rounds what passes; while it trains and `follows`, its ends move."""

    ends: Tensor
    kept: Tensor

    def __init__(
        self,
        dtype: torch.dtype = torch.int8,
        quant_min: int = -128,
        quant_max: int = 127,
        qscheme: torch.qscheme = torch.per_tensor_affine,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype=dtype, is_dynamic=is_dynamic)
        self.quant_min = quant_min
        self.quant_max = quant_max
        self.qscheme = qscheme
        self.ch_axis = None
        self.register_buffer("ends", torch.zeros(2))
        self.register_buffer("kept", torch.ones(2))
        self.follows = True
        self._seen: Histogram | None = None

    def forward(self, values: Tensor) -> Tensor:
        if self._seen is not None:
            self._seen.add(values.cpu())
            return values
        if self.training and self.follows:
            self._follow(values.detach())
        scale, zero = self.calculate_qparams()
        return torch.fake_quantize_per_tensor_affine(
            values, scale, zero, self.quant_min, self.quant_max
        )

    def watch(self) -> None:
        """Look at values, and let them through as they are."""
        self._seen = Histogram()

    @torch.no_grad()
    def settle(self, method: str, percentile: float) -> None:
        """The range of what was seen, by that calibrator."""
        seen, self._seen = self._seen, None
        if seen is None or seen.low > seen.high:
            raise UserError("no values were seen, so no range is known")
        symmetric = self.qscheme == torch.per_tensor_symmetric
        span = span_of(seen, method, percentile=percentile, symmetric=symmetric)
        ends = torch.tensor([min(seen.low, 0.0), max(seen.high, 0.0)])
        self.ends.copy_(ends)
        self.kept.copy_(torch.where(ends == 0, 1.0, torch.tensor([span.low, span.high]) / ends))

    def found(self) -> Tensor:
        """See `Range`: both ends, and of each the share that is kept."""
        return torch.cat((self.ends, self.kept))

    @torch.no_grad()
    def join(self, ranks: Tensor) -> None:
        """A range holds what any of them saw."""
        low, high, *_ = ranks.unbind(1)
        self.ends.copy_(torch.stack((low.min(), high.max())))
        self.kept.copy_(ranks[:, 2:].mean(0))

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Scale and zero point of the range."""
        low, high = (self.ends * self.kept).unbind()
        levels = self.quant_max - self.quant_min
        if self.qscheme == torch.per_tensor_symmetric:
            scale = (torch.maximum(-low, high) / (levels / 2)).clamp(min=_SMALLEST)
            return scale.view(1), torch.zeros(1, dtype=torch.int32, device=scale.device)
        scale = ((high - low) / levels).clamp(min=_SMALLEST)
        zero = (self.quant_min - low / scale).round().clamp(self.quant_min, self.quant_max)
        return scale.view(1), zero.to(torch.int32).view(1)

    @torch.no_grad()
    def _follow(self, values: Tensor) -> None:
        low, high = values.aminmax()
        seen = torch.stack((low.clamp(max=0), high.clamp(min=0))).to(self.ends)
        # What is no number would stay for good.
        self.ends.lerp_(torch.where(seen.isfinite(), seen, self.ends), SHARE)


class PerChannelWeights(ObserverBase):  # type: ignore[misc]
    """Rounds weights, each output channel by its largest; nothing is remembered.

    A BatchNorm behind the layer scales each channel, and its rounding alike: which of the 255
    levels a weight gets does not depend on whether the norm is folded into it.
    """

    def __init__(
        self,
        dtype: torch.dtype = torch.int8,
        quant_min: int = -127,
        quant_max: int = 127,
        qscheme: torch.qscheme = torch.per_channel_symmetric,
        ch_axis: int = 0,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype=dtype, is_dynamic=is_dynamic)
        self.quant_min = quant_min
        self.quant_max = quant_max
        self.qscheme = qscheme
        self.ch_axis = ch_axis
        self._fixed: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        scale = self.scale_of(values)
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            values, scale, zeros, self.ch_axis, self.quant_min, self.quant_max
        )

    def scale_of(self, weights: Tensor) -> Tensor:
        """The step of each channel."""
        largest = weights.detach().flatten(1).abs().amax(1)
        return (largest / self.quant_max).clamp(min=_SMALLEST)

    def fixed(self, scale: Tensor) -> PerChannelWeights:
        """One for weights whose steps are known, such as those with a norm folded in."""
        made = PerChannelWeights(self.dtype, self.quant_min, self.quant_max, self.qscheme)
        made._fixed = scale.clamp(min=_SMALLEST)
        return made

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Scale and zero point of each channel."""
        assert self._fixed is not None, "weights are fixed before they are converted"
        return self._fixed, torch.zeros_like(self._fixed, dtype=torch.int64)
