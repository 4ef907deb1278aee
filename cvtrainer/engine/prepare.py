"""Carries out the plan on the networks, always in the same order, and on each batch.

Device, memory format, SyncBatchNorm, wrapping, compiling; the optimizers are made after this,
because a wrapper may replace parameters. The task then computes with the prepared networks, while
everybody else (checkpoints, EMA, hooks) keeps seeing the unwrapped ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.plan import Plan
from cvtrainer.protocols import Batch, Stream, Task


@dataclass(frozen=True)
class Networks:
    """The networks by name: as the user made them, and as training computes with them."""

    bare: Mapping[str, nn.Module]
    used: Mapping[str, nn.Module]


def prepare_networks(task: Task, plan: Plan) -> Networks:
    """Place and wrap the task's networks."""
    bare: dict[str, nn.Module] = {}
    used: dict[str, nn.Module] = {}
    for name, network in task.networks.items():
        network = network.to(plan.device)
        if plan.memory_format is not None:
            network = network.to(memory_format=plan.memory_format)
        if plan.sync_batchnorm:
            convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
            network = convert(network)
        bare[name] = network
        trainable = any(parameter.requires_grad for parameter in network.parameters())
        used[name] = plan.wrap(network) if plan.wrap is not None and trainable else network
        if plan.compile is not None:
            plan.compile(used[name])
    task.replace(used)
    criterion = getattr(task, "criterion", None)
    if isinstance(criterion, nn.Module):
        criterion.to(plan.device)
    for asked in getattr(task, "frozen", {}).values():
        asked.to(plan.device)
        if plan.memory_format is not None:
            asked.to(memory_format=plan.memory_format)
    return Networks(bare, used)


def pick_device(wanted: str, local_rank: int = 0) -> torch.device:
    """Turn `auto | cpu | cuda | cuda:N` into a device that exists here."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"device: {wanted} was asked for and there is no CUDA device here; "
            "use device: cpu or device: auto"
        )
    index = int(wanted.partition(":")[2] or local_rank)
    if index >= torch.cuda.device_count():
        raise UserError(
            f"device: {wanted} was asked for and there are {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device("cuda", index)


def delivery(
    plan: Plan, look: Callable[[Batch], None] | None = None
) -> Callable[[Batch, Stream], Batch]:
    """How a batch of a stream comes to the networks: placed, finished, laid out in memory.

    `look` sees one that is bound for a device while its values can be read without waiting.
    """
    on_host = plan.device.type == "cpu"
    layout = plan.memory_format

    def deliver(batch: Batch, stream: Stream) -> Batch:
        if look is not None and not on_host:
            look(batch)
        batch = stream.finish(batch if on_host else to_device(batch, plan.device))
        return batch if layout is None else _laid_out(batch, layout)

    return deliver


def _laid_out(batch: Batch, layout: torch.memory_format) -> Batch:
    """Pictures (fields of four dimensions) in that memory format."""
    return {
        key: value.contiguous(memory_format=layout)
        if isinstance(value, torch.Tensor) and value.dim() == 4
        else value
        for key, value in batch.items()
    }


def to_device(value: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on the device; `meta` stays where it is."""
    return {key: part if key == "meta" else _move(part, device) for key, part in value.items()}


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _move(part, device) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_move(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
