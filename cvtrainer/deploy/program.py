"""A trained network as one graph, from its input to what it says, captured once for all targets.

What is captured is a module that computes everything the artefact gives: the network, and what its
task reads in the outputs. Targets lower the captured program, or a narrower form of it; none of
them captures the network again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx import GraphModule

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import TAKES, Port

MOST_AT_ONCE = 4096
"""No batch is larger than this."""
MOST_SIDE = 1 << 15
"""Nor is a picture, in pixels."""


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
    """What was captured; `any_batch` says whether it takes other numbers of inputs.

    `traced` is the network as it was captured: its nodes know the module and the source line that
    they come from, which later forms may have lost.
    """

    exported: ExportedProgram
    traced: ExportedProgram
    example: Tensor
    input: Port
    outputs: tuple[Port, ...]
    any_batch: bool
    precision: str = "fp32"
    takes: str = TAKES[0]
    module: Deployable | None = None
    """What was captured, for tools that round modules in the place of graphs."""

    def behind(self, front: nn.Module, pixels: Tensor, takes: str) -> Program:
        """The same behind a module that makes its input of bytes such as these `[2, H, W, C]`;
        where whole pictures are taken, of any height and width."""
        example = pixels if self.any_batch else pixels[:1]
        (dims,) = batch_dims(self.any_batch)
        height, width = (int(length) for length in example.shape[1:3])
        sides: tuple[int | None, int | None] = (height, width)
        if takes == "picture":
            sides = (None, None)
            dims |= {
                k: Dim(name, min=1, max=MOST_SIDE) for k, name in ((1, "height"), (2, "width"))
            }
        module = nn.Sequential(front, self.exported.module())
        exported = export(module, (example,), dynamic_shapes=(dims,), strict=False)
        shape = (self.input.shape[0], *sides, int(example.shape[3]))
        given = Port(self.input.name, "uint8", shape)
        return replace(self, exported=exported, example=example, input=given, takes=takes)

    def narrowed(self, outputs: Collection[str], *, any_batch: bool) -> Program:
        """The same with these outputs alone; without `any_batch` it takes one input at a time."""
        free = any_batch and self.any_batch
        kept = tuple(port for port in self.outputs if port.name in outputs)
        if kept == self.outputs and free == self.any_batch:
            return self
        places = [self.outputs.index(port) for port in kept]
        module = _Chosen(_making(self.exported, places), places)
        example = self.example if free else self.example[:1]
        exported = export(module, (example,), dynamic_shapes=batch_dims(free), strict=False)
        ports = tuple(_with_batch(port, free=free) for port in kept)
        given = _with_batch(self.input, free=free)
        return replace(
            self, exported=exported, example=example, input=given, outputs=ports, any_batch=free
        )


class _Chosen(nn.Module):
    """Some outputs of a module; what the others needed alone is not captured again."""

    def __init__(self, module: nn.Module, places: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self._places = places

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        made = self.module(x)
        return tuple(made[place] for place in self._places)


def _making(exported: ExportedProgram, places: Sequence[int]) -> nn.Module:
    """A module that gives the outputs at those places, and the first of them in the others.

    What the others needed alone goes; assertions about types would keep it, and go first.
    """
    module = exported.module()
    assert isinstance(module, GraphModule)
    (last,) = (node for node in module.graph.nodes if node.op == "output")
    made = list(last.args[0])
    last.args = (tuple(made[k if k in places else places[0]] for k in range(len(made))),)
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def batch_dims(free: bool) -> tuple[dict[int, Dim]]:
    """What capturing is told of the lengths of the one input."""
    return ({0: Dim("batch", min=1, max=MOST_AT_ONCE)} if free else {},)


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
        _port(label, tensor, free=free and grows)
        for label, tensor, grows in zip(module.outputs, made, _growing(exported), strict=True)
    )
    given = _port(name, one, free=free)
    return Program(exported, exported, one, given, outputs, free, module=module)


def _exported(
    module: Deployable, example: Tensor, *, any_batch: bool
) -> tuple[ExportedProgram, bool]:
    if any_batch:
        two = example if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
        with suppress(Exception):  # what the network does with a fixed number is its own business
            return export(module, (two,), dynamic_shapes=batch_dims(True), strict=False), True
    try:
        return export(module, (example[:1],), strict=False), False
    except Exception as error:  # whatever the network's own code or torch makes of it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{type(module.network).__name__} cannot become one graph: {reason}",
            todo="Look for what depends on values: ifs, loops, .item(), shapes computed from data.",
        ) from error


def _growing(exported: ExportedProgram) -> list[bool]:
    """For each output, whether its first length is the number of inputs; anchors have their own."""
    (last,) = (node for node in exported.graph.nodes if node.op == "output")
    made = [node.meta["val"] for node in last.args[0]]
    return [one.ndim > 0 and isinstance(one.shape[0], torch.SymInt) for one in made]


def _port(name: str, tensor: Tensor, *, free: bool) -> Port:
    dtype = str(tensor.dtype).removeprefix("torch.")
    first = () if tensor.ndim == 0 else (None if free else int(tensor.shape[0]),)
    return Port(name, dtype, (*first, *(int(length) for length in tensor.shape[1:])))


def _with_batch(port: Port, *, free: bool) -> Port:
    """The port where the number of inputs is free, or one; outputs without such a length stay."""
    if not port.shape or free or port.shape[0] is not None:
        return port
    return replace(port, shape=(1, *port.shape[1:]))
