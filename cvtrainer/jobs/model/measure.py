"""What one forward pass does: multiply-accumulates, shapes and memory, by module and in all.

Counted is what really runs, operator by operator, as the planner of deployment counts it too.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cvtrainer.deploy.planner.operators import OperatorWatch, whole_operators


@dataclass
class Seen:
    """What was seen of one module; `shapes` are those of its last outputs."""

    calls: int = 0
    macs: int = 0
    bytes: int = 0
    shapes: Any = None


@dataclass
class Measured:
    """What was seen of each module, in all, and the largest memory that was held at a time."""

    modules: dict[nn.Module, Seen] = field(default_factory=dict)
    macs: int = 0
    peak: int = 0


def measure(networks: Sequence[nn.Module], forward: Callable[[], Any], given: Any) -> Measured:
    """Run `forward` once and watch; `given` are the tensors that it starts with."""
    found = Measured()
    running: list[Seen] = []
    watch = _Watch(found, running)
    with ExitStack() as stack:
        for network in networks:
            for module in network.modules():
                seen = found.modules.setdefault(module, Seen())
                stack.enter_context(_watched(module, seen, running))
        stack.enter_context(whole_operators())
        stack.enter_context(torch.no_grad())
        watch.hold(given)
        stack.enter_context(OperatorWatch(watch.operator))
        forward()
    return found


def kept_for_backward(networks: Sequence[nn.Module], forward: Callable[[], Any]) -> int:
    """Bytes that a forward pass keeps for the backward one, less the weights themselves."""
    own = {
        tensor.untyped_storage()._cdata
        for network in networks
        for tensor in (*network.parameters(), *network.buffers())
    }
    kept: dict[int, tuple[Tensor, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = (tensor, storage.nbytes())
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        outputs = forward()
    total = sum(size for _, size in kept.values())
    del outputs
    return total


def shapes_of(value: Any) -> Any:
    """The shapes in a nested output, in its own nesting."""
    if isinstance(value, Tensor):
        return list(value.shape)
    if isinstance(value, Mapping):
        return {str(name): shapes_of(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [shapes_of(part) for part in value]
    return type(value).__name__


def bytes_of(value: Any) -> int:
    """The bytes of the tensors in it."""
    return sum(one.numel() * one.element_size() for one in _tensors(value))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


@contextmanager
def _watched(module: nn.Module, seen: Seen, running: list[Seen]) -> Iterator[None]:
    def before(_: nn.Module, __: Any) -> None:
        running.append(seen)

    def after(_: nn.Module, __: Any, output: Any) -> None:
        running.pop()
        seen.calls += 1
        seen.shapes = shapes_of(output)
        seen.bytes = bytes_of(output)

    hooks = [
        module.register_forward_pre_hook(before),
        module.register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Watch:
    """Counts each operator for all modules that are running, and what memory is held."""

    def __init__(self, found: Measured, running: Sequence[Seen]) -> None:
        self._found = found
        self._running = running
        self._held: dict[int, int] = {}
        self._alive: dict[int, Any] = {}

    def hold(self, value: Any) -> None:
        """Memory that is new is held until nobody has it any more."""
        for tensor in _tensors(value):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._held:
                self._held[key] = storage.nbytes()
                self._alive[key] = weakref.ref(storage, self._letting_go(key))
        self._found.peak = max(self._found.peak, sum(self._held.values()))

    def _letting_go(self, key: int) -> Callable[[Any], None]:
        def let_go(_: Any) -> None:
            self._held.pop(key, None)
            self._alive.pop(key, None)

        return let_go

    def operator(self, macs: int, given: Any, out: Any) -> None:
        """One operator ran."""
        self._found.macs += macs
        for seen in {id(one): one for one in self._running}.values():
            seen.macs += macs
        made = {one.untyped_storage()._cdata for one in _tensors(given)}
        self.hold([one for one in _tensors(out) if one.untyped_storage()._cdata not in made])
