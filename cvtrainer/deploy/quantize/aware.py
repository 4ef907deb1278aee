"""A network that trains with 8-bit rounding in it: what every way to do that offers.

The network stays the same module, and its parameters, norms and modes keep their names and places.
What is added are ranges, and one child, `rounding`, which looks after them. There are two ways: a
graph of the network that torchao rounds, and layers that nvidia-modelopt rounds in their places.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.scheme import MODELOPT, TOOL, Scheme
from cvtrainer.deploy.quiet import quiet

ROOM = "rounding"
"""The child of a network that looks after its ranges."""


class Range(Protocol):
    """Of the values at one place; while it `follows`, training moves it."""

    follows: bool

    def watch(self) -> None: ...

    def settle(self, method: str, percentile: float) -> None: ...

    def found(self) -> Tensor:
        """What is remembered of it."""

    def join(self, ranks: Tensor) -> None:
        """Take what each process has found, one row each."""


class Rounding(nn.Module):
    """All that is rounded in a network; a way to do it says how in the four abstract methods.

    `input` is the shape of the first inputs, so that whoever loads the weights can make the same
    places. `known` says whether ranges are.
    """

    input: Tensor
    known: Tensor

    def __init__(self, network: nn.Module, scheme: Scheme, shape: Sequence[int]) -> None:
        super().__init__()
        self.scheme = scheme
        self.may_be_missing = True
        """Weights of a network that never was rounded fill everything but this."""
        self.register_buffer("input", torch.tensor(list(shape)))
        self.register_buffer("known", torch.zeros((), dtype=torch.uint8))
        self._network = (network,)
        self._ready = False

    @property
    def network(self) -> nn.Module:
        """The one that is rounded; a part of it can hold it in a tuple only."""
        return self._network[0]

    @property
    @abstractmethod
    def ranges(self) -> Sequence[Range]:
        """Those of values; weights have none."""

    def forward(self, x: Any) -> Any:
        """Nothing: a network that is an `nn.Sequential` calls all of its parts."""
        return x

    @abstractmethod
    def attach(self) -> None:
        """Let the network round from now on."""

    @abstractmethod
    def in_floats(self) -> AbstractContextManager[None]:
        """The network without its rounding, for a while."""

    @abstractmethod
    def converted(self, shape: tuple[int, ...]) -> nn.Module:
        """A module in evaluation with fixed 8-bit numbers that computes what the network does, for
        inputs of that shape; ranges must be known."""

    def hold(self, *, ranges: bool, norms: bool) -> None:
        """Whether ranges, and the statistics of norms, no longer follow training."""
        for one in self.ranges:
            one.follows = not ranges
        if norms:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm) and module.training:
                    module.eval()

    def watch(self) -> None:
        """Let values through and look at them, until `settle`."""
        self._ready = True
        for one in self.ranges:
            one.watch()

    def settle(self, method: str, percentile: float = 99.99) -> None:
        """Take the ranges from what was seen."""
        for one in self.ranges:
            one.settle(method, percentile)
        self.known.fill_(1)

    def insist_on_ranges(self) -> None:
        """Float weights alone would give nothing but zeros."""
        if self._ready:
            return
        if not bool(self.known):
            raise UserError(
                "the ranges of this network are not known, so nothing can be rounded",
                where="quantise",
                todo="Take a checkpoint of the stage itself; float weights are for init_from.",
            )
        self._ready = True

    @contextmanager
    def standing_in(self, made: nn.Module) -> Iterator[None]:
        """Calls of the network go to that module, for a while."""
        network = self.network
        own = network.__dict__.get("forward")

        def instead(*args: Any, **words: Any) -> Any:
            return made(the_input(args, words))

        network.forward = instead
        try:
            yield
        finally:
            if own is None:
                del network.forward
            else:
                network.forward = own


@dataclass(frozen=True)
class _Way:
    """`place` is where its class is; `extra` brings the `module` that it needs."""

    place: str
    module: str
    package: str
    extra: str


WAYS: dict[str, _Way] = {
    TOOL: _Way(
        "cvtrainer.deploy.quantize.aware_torchao:GraphRounding", "torchao", "torchao", "int8"
    ),
    MODELOPT: _Way(
        "cvtrainer.deploy.quantize.aware_modelopt:LayerRounding",
        "modelopt",
        "nvidia-modelopt",
        "tensorrt",
    ),
}
"""By the word for who rounds."""


def insist_on_tool(tool: str, *, where: str) -> None:
    """An error with the line that installs it, if it is not there."""
    way = WAYS[tool]
    if find_spec(way.module) is None:
        raise UserError(
            f"training with the rounding of {tool} needs {way.package}",
            where=where,
            todo=f'Run: pip install "cvtrainer[{way.extra}]"',
        )


def make_aware(network: nn.Module, shape: Sequence[int], scheme: Scheme) -> Rounding:
    """Round the network for inputs of that shape (without the number of inputs), in place."""
    if hasattr(network, ROOM):
        raise UserError(
            f"{type(network).__name__} has a part called {ROOM}, a name that rounding needs",
            where="quantise",
            todo="Rename it.",
        )
    parts = dict(network.named_modules())
    unknown = [one for one in sorted(scheme.float_layers) if one not in parts]
    if unknown:
        raise UserError(
            f"{type(network).__name__} has no part {', '.join(unknown)}",
            where="quantise.float",
            todo="Name parts as the network does, such as backbone.0.",
        )
    insist_on_tool(scheme.tool, where="quantise")
    module, _, name = WAYS[scheme.tool].place.partition(":")
    with quiet():
        kind: type[Rounding] = getattr(import_module(module), name)
    room = kind(network, scheme, shape)
    room.attach()
    network.add_module(ROOM, room.train(network.training))
    return room


def rounding_of(network: nn.Module) -> Rounding | None:
    """The rounding of a network that has it."""
    found = getattr(network, ROOM, None)
    return found if isinstance(found, Rounding) else None


def the_input(args: tuple[Any, ...], words: dict[str, Any]) -> Tensor:
    """The one tensor that a rounded network may take."""
    given = [one for one in (*args, *words.values()) if one is not None]
    if len(given) == 1 and isinstance(given[0], Tensor) and given[0].is_floating_point():
        return given[0]
    kinds = ", ".join(type(one).__name__ for one in given)
    raise UserError(
        f"the network takes {kinds or 'nothing'}; only one that takes one tensor can be rounded",
        where="quantise",
        todo="Samples of one length bring no second one, which says where batches are filled.",
    )
