"""Looks into every layer of a step: what went in, what came out, which gradients came back.

Observed through hooks of torch on modules and tensors, which change nothing of what is computed.
What is found is only kept; whether it matters is for the owner to judge, because a mask may hold
infinities on purpose and a gradient may be mended before it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cvtrainer.engine.finding import (
    Finding,
    Place,
    Range,
    bad_kind,
    bad_rows,
    only_minus_infinity,
    range_of,
    tensors_in,
)

CRITERION = "criterion"

Named = tuple[str, Tensor]


@dataclass
class _Passing:
    """A tensor of this step on its way between layers; `bad` says what it holds besides numbers."""

    tensor: Tensor
    maker: str | None
    bad: str | None
    takers: list[str] = field(default_factory=list)
    gradient: Tensor | None = None
    handle: RemovableHandle | None = None


class Inspector:
    """The first findings: `forward` of this batch, `backward` since it was last emptied.

    `doubtful` is the first tensor that holds nothing worse than minus infinity.
    """

    def __init__(self, networks: Mapping[str, nn.Module], criterion: nn.Module | None) -> None:
        self.forward: Finding | None = None
        self.doubtful: Finding | None = None
        self.backward: Finding | None = None
        self.place = Place()
        self.active = False
        self._stack: list[str] = []
        self._passing: dict[tuple[int, int], _Passing] = {}
        self._inputs: dict[str, list[Named]] = {}
        self._handles: list[RemovableHandle] = []
        self._roots = set(networks)
        modules = _named(networks)
        if criterion is not None:
            for name, module in criterion.named_modules():
                modules[f"{CRITERION}.{name}" if name else CRITERION] = module
        self._kinds = {name: type(module).__name__ for name, module in modules.items()}
        self._attach(modules)

    @property
    def running(self) -> str | None:
        """The innermost layer whose forward pass has begun and not ended."""
        return self._stack[-1] if self._stack else None

    def kind_of(self, name: str) -> str:
        """The layer's class."""
        return self._kinds.get(name, "")

    def inputs_of(self, name: str) -> list[Named]:
        """What went into the layer in this batch."""
        return self._inputs.get(name, [])

    def ranges_of_inputs(self, name: str) -> tuple[Range, ...]:
        """The same, as ranges."""
        return tuple(range_of(label, one) for label, one in self.inputs_of(name))

    def begin(self, place: Place, batch: Mapping[str, Any]) -> None:
        """A new batch: forget the last one's tensors, and look at its fields."""
        self.forget()
        self.active = True
        self.place = place
        self.forward = self.doubtful = None
        for name, tensor in tensors_in({key: batch[key] for key in batch if key != "meta"}):
            if self.forward is None and bad_kind(tensor) is not None:
                self.forward = self.found("batch field", name, tensor, [("it", tensor)])

    def forget(self) -> None:
        """Let go of a batch's tensors; their hooks would keep them alive."""
        for passing in self._passing.values():
            if passing.handle is not None:
                passing.handle.remove()
        self._stack.clear()
        self._passing.clear()
        self._inputs.clear()

    def detach(self) -> None:
        """Leave the networks as they were."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.forget()

    def found(
        self,
        what: str,
        name: str,
        tensor: Tensor,
        beside: Sequence[Named],
        *remarks: str,
        kind: str = "",
    ) -> Finding:
        """A finding about this tensor, at the place under way."""
        return Finding(
            what,
            name,
            kind,
            bad_kind(tensor) or "",
            self.place,
            rows=bad_rows(tensor, len(self.place.samples)),
            ranges=tuple(range_of(label, one) for label, one in beside),
            remarks=remarks,
        )

    def _attach(self, modules: Mapping[str, nn.Module]) -> None:
        owned: set[int] = set()
        for name, module in modules.items():
            self._handles += [
                module.register_forward_pre_hook(self._entering(name), with_kwargs=True),
                module.register_forward_hook(self._leaving(name)),
            ]
            for local, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in owned:
                    owned.add(id(parameter))
                    look = self._parameter_gradient(name, local, parameter)
                    self._handles.append(parameter.register_hook(look))  # type: ignore[no-untyped-call]

    def _entering(self, name: str) -> Any:
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caller = self.running
            self._stack.append(name)
            if not self.active:
                return
            given = _labelled(args, kwargs)
            self._inputs[name] = given
            for _, tensor in given:
                passing = self._watch(tensor)
                if not passing.takers and passing.maker is None:
                    where = f"the forward pass of {caller}" if caller else "the step"
                    self._judge(passing, "input", name, given, f"it is made in {where} itself")
                passing.takers.append(name)

        return enter

    def _leaving(self, name: str) -> Any:
        def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            while self._stack and self._stack.pop() != name:
                continue
            if not self.active:
                return
            for _, tensor in tensors_in(output):
                passing = self._watch(tensor, maker=name)
                if passing.maker == name:
                    beside = [*self.inputs_of(name), ("output", tensor)]
                    self._judge(passing, "output", name, beside)

        return leave

    def _watch(self, tensor: Tensor, maker: str | None = None) -> _Passing:
        """Each tensor once; one that was changed in place is another one."""
        key = (id(tensor), tensor._version)
        known = self._passing.get(key)
        if known is not None:
            return known
        passing = self._passing[key] = _Passing(tensor, maker, bad_kind(tensor))
        if tensor.requires_grad and tensor.grad_fn is not None:
            passing.handle = tensor.register_hook(self._passing_gradient(passing))  # type: ignore[no-untyped-call]
        return passing

    def _judge(
        self, passing: _Passing, what: str, name: str, inputs: Sequence[Named], *remarks: str
    ) -> None:
        if passing.bad is None or self.forward is not None:
            return
        doubtful = only_minus_infinity(passing.tensor)
        if doubtful and self.doubtful is not None:
            return
        kind = self.kind_of(name)
        finding = self.found(what, name, passing.tensor, inputs, *remarks, kind=kind)
        if doubtful:
            self.doubtful = finding
        else:
            self.forward = finding

    def _passing_gradient(self, passing: _Passing) -> Any:
        def look(gradient: Tensor) -> None:
            passing.gradient = gradient
            if self.backward is not None or bad_kind(gradient) is None:
                return
            takers = self._innermost(passing.takers)
            if not takers:
                maker = passing.maker or "the network"
                remark = "the loss, or what is computed from its output outside of layers, makes it"
                self._bad_gradient(maker, maker, gradient, [("output", passing.tensor)], remark)
                return
            taker = takers[-1]
            remarks = [self._arriving(taker)]
            if len(takers) > 1:
                remarks.append(f"its input goes into {', '.join(takers[:-1])} as well")
            self._bad_gradient(taker, taker, gradient, self.inputs_of(taker), *remarks)

        return look

    def _parameter_gradient(self, name: str, local: str, parameter: Tensor) -> Any:
        def look(gradient: Tensor) -> None:
            if self.active and self.backward is None and bad_kind(gradient) is not None:
                beside = [*self.inputs_of(name), (local, parameter)]
                self._bad_gradient(
                    name, _joined(name, local, self._roots), gradient, beside, self._arriving(name)
                )

        return look

    def _bad_gradient(
        self, owner: str, name: str, gradient: Tensor, beside: Sequence[Named], *remarks: str
    ) -> None:
        kind = self.kind_of(owner)
        self.backward = self.found("gradient", name, gradient, beside, *remarks, kind=kind)

    def _innermost(self, takers: Sequence[str]) -> list[str]:
        """Those that do not only hand it on to layers inside of them."""
        found = list(dict.fromkeys(takers))
        return [one for one in found if not any(self._is_inside(other, one) for other in found)]

    def _is_inside(self, inner: str, outer: str) -> bool:
        """Names of the only network's layers do not begin with its own."""
        if inner.startswith(f"{outer}."):
            return True
        alone = len(self._roots) == 1 and outer in self._roots
        return alone and inner != outer and inner.partition(".")[0] != CRITERION

    def _arriving(self, name: str) -> str:
        """The gradient that a layer's backward pass began with."""
        for passing in self._passing.values():
            if passing.maker == name and passing.gradient is not None:
                return f"what comes back to it is {range_of('the gradient', passing.gradient)}"
        return "nobody saw what comes back to it"


def parameters_of(
    networks: Mapping[str, nn.Module], chosen: Collection[str]
) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters of some of the networks, under the names that findings use."""
    for network in chosen:
        for name, parameter in networks[network].named_parameters():
            yield name if len(networks) == 1 else f"{network}.{name}", parameter


def _labelled(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Named]:
    """A layer's inputs under the names that a person would give them."""
    positional = [tensor for _, tensor in tensors_in(list(args))]
    if len(positional) == 1:
        first = [("input", positional[0])]
    else:
        first = [(f"input {number}", one) for number, one in enumerate(positional, start=1)]
    return [*first, *((f"input {name}", one) for name, one in tensors_in(kwargs))]


def _joined(owner: str, local: str, roots: set[str]) -> str:
    """The full name of a parameter; those of the only network itself have no prefix."""
    return local if len(roots) == 1 and owner in roots else f"{owner}.{local}"


def _named(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Layers by full name; where there are several networks, names begin with theirs."""
    alone = len(networks) == 1
    return {
        (name if alone and name else f"{network}.{name}" if name else network): module
        for network, root in networks.items()
        for name, module in root.named_modules()
    }
