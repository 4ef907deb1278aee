"""A trained network as one graph, from its input to what it says, captured once for all targets.

What is captured is a module that computes everything the artefact gives: the network, and what its
task reads in the outputs. Targets lower the captured program; none of them captures again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Port

MOST_AT_ONCE = 4096
"""No batch is larger than this."""


class Deployable(nn.Module):
    """Gives the named outputs of one input, in their order."""

    def __init__(
        self,
        network: nn.Module,
        compute: Callable[[Tensor], Mapping[str, Tensor]],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.network = network
        self.outputs = tuple(outputs)
        self._compute = compute

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        made = self._compute(x)
        return tuple(made[name] for name in self.outputs)


@dataclass(frozen=True)
class Program:
    """What was captured; `any_batch` says whether it takes other numbers of inputs."""

    exported: ExportedProgram
    module: Deployable
    example: Tensor
    input: Port
    outputs: tuple[Port, ...]
    any_batch: bool
    precision: str = "fp32"


def captured(
    module: Deployable, example: Tensor, *, name: str = "x", any_batch: bool = True
) -> Program:
    """The program of the module in evaluation, at the example's shape and any number of inputs.

    Where the network itself fixes that number, the program takes one input at a time.
    """
    modes = {one: one.training for one in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            exported, free = _exported(module, example, any_batch=any_batch)
            one = example if free else example[:1]
            made = module(one)
    finally:
        for part, mode in modes.items():
            part.training = mode
    outputs = tuple(
        _port(label, tensor, free=free) for label, tensor in zip(module.outputs, made, strict=True)
    )
    return Program(exported, module, one, _port(name, one, free=free), outputs, free)


def _exported(
    module: Deployable, example: Tensor, *, any_batch: bool
) -> tuple[ExportedProgram, bool]:
    if any_batch:
        two = example if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
        with suppress(Exception):  # what the network does with a fixed number is its own business
            free = {0: Dim("batch", min=1, max=MOST_AT_ONCE)}
            return export(module, (two,), dynamic_shapes=(free,), strict=False), True
    try:
        return export(module, (example[:1],), strict=False), False
    except Exception as error:  # whatever the network's own code or torch makes of it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{type(module.network).__name__} cannot become one graph: {reason}",
            todo="Look for what depends on values: ifs, loops, .item(), shapes computed from data.",
        ) from error


def _port(name: str, tensor: Tensor, *, free: bool) -> Port:
    dtype = str(tensor.dtype).removeprefix("torch.")
    first = () if tensor.ndim == 0 else (None if free else int(tensor.shape[0]),)
    return Port(name, dtype, (*first, *(int(length) for length in tensor.shape[1:])))
