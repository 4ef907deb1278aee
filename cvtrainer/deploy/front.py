"""What stands before a network in a graph that takes a picture's bytes instead of numbers.

Bytes come as height x width x channels, as cameras and decoders give them. Inside are the numbers
of the input spec, and for whole pictures its steps too, first of all the resize. That one keeps its
fractions where Pillow rounds, so it is away from it by less than one of 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import CenterCrop, Fill, Grey, InputSpec, Pad, PadTo, Resize, Step

_KERNELS = ("bilinear", "bicubic")
Length = Any
"""A number, known now or when the graph runs."""
_LUMA = (9798 / 32768, 19235 / 32768, 3735 / 32768)


class Front(nn.Module):
    """From bytes `[N, H, W, C]` to the network's input; with `steps` from pictures of any size."""

    def __init__(self, spec: InputSpec, *, steps: bool) -> None:
        super().__init__()
        self._scaled = spec.scaled
        self._steps = nn.ModuleList(_modules(spec.steps) if steps else ())
        self._centred = bool(spec.mean)
        self.register_buffer("mean", _column(spec.mean))
        self.register_buffer("std", _column(spec.std))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        planes = pixels.permute(0, 3, 1, 2)
        if not self._scaled and not self._steps:
            return planes
        values = planes.to(torch.float32)
        for step in self._steps:
            values = step(values)
        if not self._scaled:
            return values.round().to(torch.uint8)
        values = values / 255
        return (values - self.mean) / self.std if self._centred else values


def refuse_without_form(spec: InputSpec) -> None:
    """Whole pictures can be given only where each step can be a part of the graph."""
    _modules(spec.steps)


def _modules(steps: Sequence[Step]) -> list[nn.Module]:
    return [_module(step) for step in steps]


def _module(step: Step) -> nn.Module:
    if isinstance(step, Grey):
        return _Greyed()
    if isinstance(step, Pad):
        return _Bordered(step)
    if not isinstance(step, Resize):
        return _Sized(step)
    if step.kernel not in _KERNELS or step.shrink == "area":
        what = "means of areas" if step.shrink == "area" else f"the {step.kernel} kernel"
        raise UserError(
            f"a resize by {what} has no form inside a graph",
            where="--input picture",
            todo="Give --input uint8: pictures get their size before the graph.",
        )
    return _Resized(step)


class _Resized(nn.Module):
    """Sharp kernels overshoot, and what does so is cut off after each axis, as Pillow does."""

    def __init__(self, step: Resize) -> None:
        super().__init__()
        self._step = step
        self._wide = step.shrink == "smooth"

    def forward(self, values: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        size = _result(self._step, height, width)
        if self._step.kernel == "bicubic" and self._wide:
            values = self._to(values, (height, size[1])).clamp(0, 255).round()
        made = self._to(values, size)
        return made.clamp(0, 255) if self._step.kernel == "bicubic" else made

    def _to(self, values: Tensor, size: Sequence[Length]) -> Tensor:
        return functional.interpolate(
            values, size, mode=self._step.kernel, align_corners=False, antialias=self._wide
        )


def _result(step: Resize, height: int, width: int) -> Sequence[Length]:
    """As `step.result`, of lengths that are known when the graph runs."""
    if step.size is not None:
        return step.size
    pick = torch.sym_min if step.shorter else torch.sym_max
    wanted, side = step.shorter or step.longer or 1, pick(height, width)
    tall, wide = ((2 * one * wanted + side) // (2 * side) for one in (height, width))
    return torch.sym_max(tall, 1), torch.sym_max(wide, 1)


class _Greyed(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        if values.shape[1] != len(_LUMA):
            return values
        luma = values.new_tensor(_LUMA).reshape(1, -1, 1, 1)
        grey = (values * luma).sum(dim=1, keepdim=True)
        return torch.cat((grey,) * len(_LUMA), dim=1)


class _Bordered(nn.Module):
    def __init__(self, step: Pad) -> None:
        super().__init__()
        self._step = step

    def forward(self, values: Tensor) -> Tensor:
        left, top, right, bottom = self._step.sides
        return _bordered(values, (left, right, top, bottom), self._step.fill)


class _Sized(nn.Module):
    """A centred border around what is smaller, the middle of what is larger, or both."""

    def __init__(self, step: CenterCrop | PadTo) -> None:
        super().__init__()
        self._size = step.size
        self._fill = step.fill
        self._cuts = isinstance(step, CenterCrop)

    def forward(self, values: Tensor) -> Tensor:
        height, width = self._size
        if self._cuts:
            return self._middle(self._middle(values, -2, height), -1, width)
        rows = torch.sym_max(height - values.shape[-2], 0)
        columns = torch.sym_max(width - values.shape[-1], 0)
        sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return _bordered(values, sides, self._fill)

    def _middle(self, values: Tensor, axis: int, want: int) -> Tensor:
        """Taken place by place, so that nothing needs to be known of the length there is."""
        have = values.shape[axis]
        begin = torch.sym_max(have - want, 0) // 2 - torch.sym_max(want - have, 0) // 2
        places = torch.arange(want, device=values.device) + begin
        made = values.index_select(axis, places.clamp(min=0).clamp(max=have - 1))
        inside = ((places >= 0) & (places < have)).to(values.dtype)
        inside = inside.reshape(-1, 1) if axis == -2 else inside
        fill = values.new_tensor(self._fill).reshape(1, -1, 1, 1)
        return made * inside + fill * (1 - inside)


def _bordered(values: Tensor, sides: Sequence[Length], fill: Fill) -> Tensor:
    if not isinstance(fill, tuple):
        return functional.pad(values, sides, value=fill)
    colour = values.new_tensor(fill).reshape(1, -1, 1, 1)
    return functional.pad(values - colour, sides) + colour


def _column(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).reshape(1, -1, 1, 1)
