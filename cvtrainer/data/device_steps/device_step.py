"""What happens to a batch on its device: the protocol, and the steps of a config in their order.

A step gets the batch and draws of its own. Where a sample's seed is missing, a step that draws
says so; one that draws nothing works on any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.device_steps.draws import Draws

Batch = dict[str, Any]
DRAW_SEEDS = "draw_seeds"
"""In `meta`: one whole number per sample that decides what is drawn for it."""


class DeviceStep(Protocol):
    """Changes a batch where it lies; returns a new dict and leaves the given one as it was."""

    def __call__(self, batch: Batch, draws: Draws) -> Batch: ...


class DeviceSteps:
    """The steps in their order, each with draws of its own."""

    def __init__(self, steps: Sequence[DeviceStep]) -> None:
        self.steps = tuple(steps)

    def __call__(self, batch: Batch) -> Batch:
        seeds = (batch.get("meta") or {}).get(DRAW_SEEDS)
        draws = Draws(seeds or ())
        for place, step in enumerate(self.steps, start=1):
            batch = step(batch, draws.at(place))
        return batch


def pictures(batch: Batch, field: str, who: str) -> Tensor:
    """The pictures of the batch: n x channels x height x width."""
    found = batch.get(field)
    if not isinstance(found, Tensor) or found.ndim != 4:
        raise UserError(
            f"{who} needs pictures (n x channels x height x width) in field {field}",
            where="device_steps",
            todo="Name the field that has them.",
        )
    return found


def with_values(batch: Batch, change: Callable[[str, Any, Mapping[str, Any]], Any]) -> Batch:
    """A copy whose fields, those in `target` too, went through `change(name, value, holder)`."""
    out = {name: change(name, value, batch) for name, value in batch.items()}
    target = batch.get("target")
    if isinstance(target, Mapping):
        out["target"] = {name: change(name, value, target) for name, value in target.items()}
    return out


def on_device(rows: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers drawn on the CPU, beside that tensor."""
    tensor = torch.as_tensor(rows, dtype=dtype)
    if like.device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(like.device, non_blocking=True)


def check_draws(draws: Draws, count: int, who: str) -> None:
    """As many seeds as samples."""
    if len(draws) != count:
        raise UserError(
            f"{who} draws per sample, but the batch has {len(draws)} {DRAW_SEEDS} for {count} "
            "samples",
            where="device_steps",
            todo="Use it in a stream's device_steps, which puts them into meta.",
        )
