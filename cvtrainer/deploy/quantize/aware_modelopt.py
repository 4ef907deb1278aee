"""Rounding by nvidia-modelopt: layers round their inputs and weights where they stand.

Nothing is captured, so the network may compute otherwise in training than in evaluation. Weights
are rounded for each output channel by their largest, anew in each step. A range is modelopt's own
number, `_amax` of an input quantizer; that it follows training is done here, as for torchao.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.aware import ROOM, Rounding
from cvtrainer.deploy.quantize.calibrators import span_of
from cvtrainer.deploy.quantize.fixed import fix_input, fix_weight
from cvtrainer.deploy.quantize.histogram import Histogram
from cvtrainer.deploy.quantize.modelopt import SMALLEST, marks
from cvtrainer.deploy.quantize.rounding import SHARE
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import silent

_INPUT, _WEIGHT = "input_quantizer", "weight_quantizer"


class LayerRange:
    """The largest absolute value that a layer's input is rounded by, and what share of the largest
    one seen that is; both are kept in modelopt's quantizer."""

    def __init__(self, layer: str, quantizer: Any) -> None:
        self.layer = layer
        self.follows = True
        self.quantizer = quantizer
        quantizer.amax = torch.full((), math.nan)
        quantizer.register_buffer("kept", torch.ones(()))
        quantizer.may_be_missing = True
        quantizer.register_forward_pre_hook(self._look)
        self._seen: Histogram | None = None

    @property
    def unknown(self) -> bool:
        """Whether nobody has found or loaded it."""
        return bool(self.quantizer.amax.isnan())

    @property
    def unseen(self) -> bool:
        """Whether it watches, and nothing has come."""
        return self._seen is not None and self._seen.low > self._seen.high

    def watch(self) -> None:
        """See `Range`."""
        self._seen = Histogram()
        self.quantizer.disable_quant()

    @torch.no_grad()
    def settle(self, method: str, percentile: float) -> None:
        """See `Range`."""
        seen, self._seen = self._seen, None
        assert seen is not None, "ranges are watched before they are settled"
        self.quantizer.enable_quant()
        low, high = span_of(seen, method, percentile=percentile, symmetric=True)
        largest = max(-low, high, SMALLEST)
        self.quantizer.amax.fill_(largest)
        self.quantizer.kept.fill_(largest / max(-seen.low, seen.high, SMALLEST))

    def found(self) -> Tensor:
        """See `Range`: what it is rounded by, and the share that is kept."""
        return torch.stack((self.quantizer.amax, self.quantizer.kept))

    @torch.no_grad()
    def join(self, ranks: Tensor) -> None:
        """The largest that any of them saw, and of that the mean share."""
        amax, kept = ranks.to(self.quantizer.amax).unbind(1)
        self.quantizer.kept.copy_(kept.mean())
        self.quantizer.amax.copy_(((amax / kept).max() * kept.mean()).clamp(min=SMALLEST))

    @torch.no_grad()
    def _look(self, quantizer: Any, inputs: tuple[Any, ...]) -> None:
        values: Tensor = inputs[0].detach()
        if self._seen is not None:
            self._seen.add(values.cpu())
        elif quantizer.training and self.follows and values.numel():
            reach = values.abs().amax() * quantizer.kept
            # What is no number would stay for good.
            aim = torch.where(reach.isfinite(), reach, quantizer.amax)
            quantizer.amax.lerp_(aim, SHARE).clamp_(min=SMALLEST)


class LayerRounding(Rounding):
    """All that modelopt rounds in a network."""

    def __init__(self, network: nn.Module, scheme: Scheme, shape: Sequence[int]) -> None:
        super().__init__(network, scheme, shape)
        self._ranges: tuple[LayerRange, ...] = ()
        self._check: Any = None

    @property
    def ranges(self) -> tuple[LayerRange, ...]:
        """Those of inputs; weights have none."""
        return self._ranges

    def forward(self, values: Any) -> Any:
        """Nothing: the network may be one that runs each of its children."""
        return values

    def attach(self) -> None:
        """Mark the layers; no number is found yet."""
        network = self.network
        device = next((one.device for one in network.parameters()), torch.device("cpu"))
        with silent():
            from modelopt.torch import quantization

            _convert_layers(network, self.scheme)
            quantization.set_quantizer_by_cfg(network, marks(self.scheme)["quant_cfg"])
        if not any(path.endswith(_WEIGHT) for path, _ in _quantizers(network)):
            raise UserError(
                f"modelopt finds no layer to round in {type(network).__name__}",
                where="quantise.quantizer",
                todo="It rounds layers of torch.nn, such as Conv2d and Linear.",
            )
        self._ranges = tuple(
            LayerRange(path.removesuffix(_INPUT).rstrip("."), one.to(device))
            for path, one in _quantizers(network)
            if path.endswith(_INPUT)
        )
        self._check = network.register_forward_pre_hook(self._before)

    def insist_on_ranges(self) -> None:
        """Also where some are known: each layer's may be missing from a source by itself."""
        if self._ready:
            return
        super().insist_on_ranges()
        lacking = [one.layer for one in self.ranges if one.unknown]
        if lacking:
            self._ready = False
            raise UserError(
                f"the weights bring ranges, but none for {', '.join(lacking)}",
                where="quantise",
                todo="Take those of the same float parts, or init_from with skip: [rounding].",
            )

    def settle(self, method: str, percentile: float = 99.99) -> None:
        """As always; a layer that evaluation passes by has no range."""
        idle = [one.layer for one in self.ranges if one.unseen]
        if idle:
            raise UserError(
                f"evaluation gives no values to {', '.join(idle)}, so no range is known there",
                where="quantise",
                todo=f"Leave them in floats: quantise: {{float: [{', '.join(idle)}]}}.",
            )
        super().settle(method, percentile)

    @contextmanager
    def in_floats(self) -> Iterator[None]:
        """With its quantizers off for a while."""
        all_of_them = [one for _, one in _quantizers(self.network)]
        for one in all_of_them:
            one.disable()
        try:
            yield
        finally:
            for one in all_of_them:
                one.enable()

    def converted(self, shape: tuple[int, ...]) -> nn.Module:
        """A copy of plain layers, whose weights are their levels."""
        from modelopt.torch.quantization.nn import QuantModule

        self.insist_on_ranges()
        made = deepcopy(self.network).eval()
        delattr(made, ROOM)
        made._forward_pre_hooks.pop(self._check.id)
        rounds = dict(_quantizers(made))
        for path, layer in list(made.named_modules()):
            if isinstance(layer, QuantModule):
                start = f"{path}." if path else ""
                _fix(layer, rounds.get(f"{start}{_INPUT}"), rounds.get(f"{start}{_WEIGHT}"))
        return made

    def _before(self, *_: Any) -> None:
        self.insist_on_ranges()


def _convert_layers(network: nn.Module, scheme: Scheme) -> None:
    """Let those that modelopt knows become its own. Norms and recurrent layers stay what they are:
    the former are not rounded, the latter would keep what cannot be copied."""
    from modelopt.torch.quantization.nn import QuantModuleRegistry

    for path, layer in list(network.named_modules()):
        stays = any(path == one or path.startswith(f"{one}.") for one in scheme.float_layers)
        if stays or isinstance(layer, _BatchNorm | nn.RNNBase) or layer not in QuantModuleRegistry:
            continue
        if hasattr(layer, "weight") and "weight" not in layer._parameters:
            raise UserError(
                f"modelopt cannot round {path}, whose weight is computed from others",
                where="quantise.quantizer",
                todo=f"Leave it in floats: quantise: {{float: [{path}]}}.",
            )
        QuantModuleRegistry.convert(layer).train(layer.training)  # what is new in it, too


def _quantizers(network: nn.Module) -> list[tuple[str, Any]]:
    """Those that round, by their paths."""
    return [
        (path, module)
        for path, module in network.named_modules()
        if path.rpartition(".")[2] in (_INPUT, _WEIGHT) and module.is_enabled
    ]


def _fix(layer: Any, values: Any | None, weights: Any | None) -> None:
    """Make it the layer that it was, with rounding in fixed numbers."""
    rounded = None if weights is None else (weights(layer.weight).detach(), weights.axis)
    plain = layer.export()
    if values is not None:
        fix_input(plain, float(values.amax))
    if rounded is not None:
        fix_weight(plain, *rounded)
