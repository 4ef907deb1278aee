"""A trained network as one graph, from its input to what it says, captured once for all targets.

What is captured is a module that computes everything the artefact gives: the network, and what its
task reads in the outputs. Targets lower the captured program, or a narrower form of it; none of
them captures the network again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import TAKES, Port
from cvtrainer.deploy.own_lines import no_graph
from cvtrainer.deploy.quiet import silent

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
        ports = tuple(_with_batch(port, free=free) for port in kept)
        given = _with_batch(self.input, free=free)
        dims = dims_of(given)
        exported = export(module, (example,), dynamic_shapes=dims, strict=False)
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


def dims_of(port: Port) -> tuple[dict[int, Any]]:
    """The same for a port: how long free lengths may be follows from the network."""
    (dims,) = batch_dims(port.shape[0] is None)
    axes = [axis for axis, length in enumerate(port.shape) if axis and length is None]
    return (dims | dict.fromkeys(axes, Dim.AUTO),)


def captured(
    module: Deployable,
    example: Tensor,
    *,
    name: str = "x",
    any_batch: bool = True,
    free: Collection[int] = (),
) -> Program:
    """The program of the module in evaluation, at the example's shape and any number of inputs,
    and where these axes of the example have any length.

    Where the network itself fixes the number of inputs, the program takes one at a time.
    """
    modes = {one: one.training for one in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            exported, several = _exported(module, example, free, any_batch=any_batch)
            one = example if several else example[:1]
            made = module(one)
    finally:
        for part, mode in modes.items():
            part.training = mode
    outputs = tuple(
        _port(label, tensor, _lengths(tensor, node.meta["val"].shape, follows=bool(free)))
        for label, tensor, node in zip(module.outputs, made, _results(exported), strict=True)
    )
    first = None if several else 1
    shape = (first, *(None if k in free else int(one.shape[k]) for k in range(1, one.ndim)))
    given = _port(name, one, shape)
    return Program(exported, exported, one, given, outputs, several, module=module)


def _exported(
    module: Deployable, example: Tensor, free: Collection[int], *, any_batch: bool
) -> tuple[ExportedProgram, bool]:
    lengths = dict.fromkeys(free, Dim.AUTO)
    if any_batch:
        two = example if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
        dims = (batch_dims(True)[0] | lengths,)
        with (
            suppress(Exception),
            silent(),
        ):  # what the network does with a fixed number is its own business
            made = export(module, (two,), dynamic_shapes=dims, strict=False)
            _refuse_fixed(made, module.network, free)
            return made, True
    try:
        dims = (lengths,)
        with silent():  # torch shows the graph up to there
            made = export(module, (example[:1],), dynamic_shapes=dims, strict=False)
    except Exception as error:  # whatever the network's own code or torch makes of it
        raise no_graph(module.network, error) from error
    _refuse_fixed(made, module.network, free)
    return made, False


def _refuse_fixed(made: ExportedProgram, network: nn.Module, free: Collection[int]) -> None:
    """Lengths that torch found to be one number only."""
    (given,) = (node for node in made.graph.nodes if node.name in made.graph_signature.user_inputs)
    lengths = given.meta["val"].shape
    for axis in free:
        if not _is_free(lengths[axis]):
            raise UserError(
                f"{type(network).__name__} takes inputs of one length ({lengths[axis]}) when it is "
                "one graph, and samples may have others",
                todo="Give them all one length: a tensorizer with `length` or `seconds`.",
            )


def _is_free(length: int | torch.SymInt) -> bool:
    """Not one number, whether written as one or found to be one."""
    return isinstance(length, torch.SymInt) and not is_concrete_int(length)


def _results(exported: ExportedProgram) -> list[Node]:
    (last,) = (node for node in exported.graph.nodes if node.op == "output")
    return list(last.args[0])


def _lengths(tensor: Tensor, traced: Sequence[Any], *, follows: bool) -> tuple[int | None, ...]:
    """None where a length is the number of inputs (anchors have their own), or `follows` the
    lengths of the input."""
    return tuple(
        None if _is_free(one) and (axis == 0 or follows) else int(length)
        for axis, (length, one) in enumerate(zip(tensor.shape, traced, strict=True))
    )


def _port(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> Port:
    return Port(name, str(tensor.dtype).removeprefix("torch."), shape)


def _with_batch(port: Port, *, free: bool) -> Port:
    """The port where the number of inputs is free, or one; outputs without such a length stay."""
    if not port.shape or free or port.shape[0] is not None:
        return port
    return replace(port, shape=(1, *port.shape[1:]))
