"""Rounding by torchao: the network's `forward` runs a graph of it, made by `prepare_qat_pt2e`.

The graph calls the network's own BatchNorm modules and asks modules for their mode, so `train()`
and `eval()` mean what they meant. Ranges are children of `rounding`, by the names of nodes.

A BatchNorm right behind a layer counts as a part of it, and only weights rounded per channel are
known here: the norm's factor per channel does not change which level a weight gets, so nothing is
scaled back and forth in training, and folding at the end is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm
from torchao.quantization.pt2e.observer import ObserverBase
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationSpec

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.own_lines import no_graph
from cvtrainer.deploy.program import batch_dims
from cvtrainer.deploy.quantize.annotate import NetworkQuantizer
from cvtrainer.deploy.quantize.aware import ROOM, Rounding, the_input
from cvtrainer.deploy.quantize.aware_convert import converted
from cvtrainer.deploy.quantize.aware_graph import (
    DROPOUTS,
    call_norms,
    with_dropout,
    without_dropout,
)
from cvtrainer.deploy.quantize.layers import kind_of, own_path
from cvtrainer.deploy.quantize.rounding import FollowedRange, PerChannelWeights
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import quiet, silent

_HELD = "network"


class GraphRounding(Rounding):
    """All that is rounded in a network, by the names of the graph's nodes; runs its graphs.

    There is a graph for each size of pictures that came; all of them share what is here.
    """

    def __init__(self, network: nn.Module, scheme: Scheme, shape: Sequence[int]) -> None:
        super().__init__(network, scheme, shape)
        self._graphs: dict[tuple[int, ...], GraphModule] = {}

    @property
    def ranges(self) -> list[FollowedRange]:
        """Those of values; weights have none."""
        return [one for one in self.children() if isinstance(one, FollowedRange)]

    def attach(self) -> None:
        """The first graph, and the network that runs it."""
        self.graph_of(tuple(int(length) for length in self.input))
        self.network.forward = self.run

    @contextmanager
    def in_floats(self) -> Iterator[None]:
        """With the network's own forward for a while."""
        run = self.network.__dict__.pop("forward", None)
        try:
            yield
        finally:
            if run is not None:
                self.network.forward = run

    def converted(self, shape: tuple[int, ...]) -> nn.Module:
        """What the graph for that shape has become."""
        self.insist_on_ranges()
        return converted(self.graph_of(shape))

    def run(self, *args: Any, **words: Any) -> Any:
        """What the network's `forward` does from now on."""
        x = the_input(args, words)
        self.insist_on_ranges()
        return self.graph_of(tuple(x.shape[1:]))(x)

    def graph_of(self, shape: tuple[int, ...]) -> GraphModule:
        """The graph for pictures of that size."""
        if shape not in self._graphs:
            self._graphs[shape] = self._captured(shape)
        return self._graphs[shape]

    def _captured(self, shape: tuple[int, ...]) -> GraphModule:
        network = self.network
        place = next((one.device for one in network.parameters()), torch.device("cpu"))
        example = torch.zeros(2, *shape, device=place)
        with quiet(), self.in_floats(), torch.random.fork_rng(), _modes_kept(network):
            still = _exported(network.eval(), example)
            moving = _exported(network.train(), example)
            _refuse_shared_norms(network, moving)
            _refuse_two_faces(network, still, moving)
            module: Any = moving.module(check_guards=False)
            module.network = network
            norms = call_norms(module)
            dropped = without_dropout(module)
            prepared: GraphModule = prepare_qat_pt2e(module, _Quantizer(self.scheme, norms))
            prepared.network = network
        self._adopt(prepared)
        with_dropout(prepared, dropped)
        prepared.recompile()
        return prepared

    def _adopt(self, prepared: GraphModule) -> None:
        """Bring the rounding of a new graph here, or let it use what is here."""
        first = not self._graphs
        names: dict[int, str] = {}
        for node in prepared.graph.nodes:
            if node.op != "call_module":
                continue
            module = prepared.get_submodule(str(node.target))
            if not isinstance(module, ObserverBase):
                continue
            if id(module) not in names:
                name = names[id(module)] = node.args[0].name
                if first:
                    self.add_module(name, module.to(self.input.device))
                elif not hasattr(self, name):
                    raise UserError(
                        f"{type(self.network).__name__} computes otherwise for pictures of another "
                        "size, which cannot be rounded alike"
                    )
            node.target = f"{_HELD}.{ROOM}.{names[id(module)]}"
        for name in [name for name in prepared._modules if name != _HELD]:
            delattr(prepared, name)


class _Holder(nn.Module):
    """Gives the network the path under which annotation looks for it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        return self.network(x)


class _Quantizer(NetworkQuantizer):
    """The same marks as after training, with roundings that train; norms belong to their layers."""

    def __init__(self, scheme: Scheme, norms: dict[Node, Node]) -> None:
        super().__init__(scheme)
        self._norms = norms
        self._values = _with(self._values, FollowedRange)
        self._weights = _with(self._weights, PerChannelWeights)

    def _last(self, node: Node) -> Node:
        norm = self._norms.get(node)
        return super()._last(node) if norm is None else self._clamped(norm)


def _with(spec: QuantizationSpec, kind: type[ObserverBase]) -> QuantizationSpec:
    made = copy(spec)
    object.__setattr__(made, "observer_or_fake_quant_ctr", kind.with_args())
    return made


def _exported(network: nn.Module, example: Tensor) -> ExportedProgram:
    dims = batch_dims(True)
    try:
        with silent():  # torch shows the graph up to where it could not go on
            return export(_Holder(network), (example,), dynamic_shapes=dims, strict=False)
    except Exception as error:  # whatever the network's own code or torch makes of it
        raise no_graph(network, error, where="quantise") from error


@contextmanager
def _modes_kept(network: nn.Module) -> Iterator[None]:
    modes = [(one, one.training) for one in network.modules()]
    try:
        yield
    finally:
        for one, mode in modes:
            one.training = mode


def _refuse_shared_norms(network: nn.Module, program: ExportedProgram) -> None:
    """What stands before a norm takes it in, and two layers cannot both."""
    norms = (own_path(one) for one in program.graph.nodes if kind_of(one) == "batch_norm")
    for name, calls in Counter(norms).items():
        if calls > 1 and isinstance(network.get_submodule(name), _BatchNorm):
            raise UserError(
                f"the norm {name} is called {calls} times, and rounding makes it a part of the "
                "layer before it",
                where="quantise",
                todo="Give each place a norm of its own.",
            )


def _refuse_two_faces(network: nn.Module, still: ExportedProgram, moving: ExportedProgram) -> None:
    """One graph serves both modes; only dropout and norms may differ in them."""
    one, other = ([kind_of(node) for node in _steps(each)] for each in (still, moving))
    if one == other:
        return
    odd = next((kind for kind in other if other.count(kind) != one.count(kind)), None) or next(
        kind for kind in one if one.count(kind) != other.count(kind)
    )
    raise UserError(
        f"{type(network).__name__} computes otherwise in training than in evaluation ({odd}), "
        "so one rounded graph cannot be both",
        where="quantise",
        todo="Leave out what only training has, such as dropped paths or further outputs.",
    )


def _steps(program: ExportedProgram) -> list[Node]:
    return [
        node
        for node in program.graph.nodes
        if node.op == "call_function"
        and kind_of(node) not in DROPOUTS
        and not (kind_of(node) == "add_" and not node.users and not node.meta["val"].ndim)
    ]
