"""A metric of torchmetrics as a meter, by its own name and arguments.

Its states are saved, and merged over ranks as the metric itself says they are to be reduced; where
it says nothing, it gets them stacked, as when torchmetrics gathers them. What only holds other
metrics has no states of its own and is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import State


def _refuse_other_than_one_metric(value: Any) -> None:
    try:
        from torchmetrics import Metric, MetricCollection
    except ImportError as error:
        raise UserError(
            "TorchmetricsMeter: the package torchmetrics is not installed",
            todo="pip install 'cvtrainer[metrics]'.",
        ) from error
    if not isinstance(value, Metric | MetricCollection):
        raise UserError(
            f"TorchmetricsMeter: {type(value).__name__} is no metric of torchmetrics",
            todo="Give a node: metric: {type: torchmetrics.CohenKappa, ...}.",
        )
    held = (one for one in value.modules() if one is not value)
    if isinstance(value, MetricCollection) or any(isinstance(one, Metric) for one in held):
        raise UserError(
            f"TorchmetricsMeter: {type(value).__name__} holds other metrics",
            todo="Name each of them as a meter of its own.",
        )


_BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "dim_zero_sum": lambda values: values.sum(dim=0),
    "dim_zero_mean": lambda values: values.mean(dim=0),
    "dim_zero_max": lambda values: values.amax(dim=0),
    "dim_zero_min": lambda values: values.amin(dim=0),
}


_OUR_NAMES = {"preds": "output", "targets": "target"}


class _Update:
    """Hands fields to a metric; whoever binds them sees the parameters of that metric.

    What it calls `preds` is our `output`; other parameters have their own names.
    """

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        own = inspect.signature(metric.update).parameters.values()
        single = [one for one in own if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        self.names = {_OUR_NAMES.get(one.name, one.name): one.name for one in single}
        parameters = [one.replace(name=_OUR_NAMES.get(one.name, one.name)) for one in own]
        self.__signature__ = inspect.Signature(parameters)
        many = (one.name for one in parameters if one.kind is one.VAR_POSITIONAL)
        self.many = next(many, "")
        """What takes any number of values; by its name it takes one."""

    def __call__(self, *values: Any, **fields: Any) -> None:
        many = [fields.pop(self.many)] if self.many in fields else []
        given = self.__signature__.bind(*values, **fields)
        given.apply_defaults()
        values = (*given.args, *many)
        named = {self.names.get(name, name): one for name, one in given.kwargs.items()}
        tensor = next(_tensors([*values, *named.values()]), None)
        if tensor is not None and self.metric.device != tensor.device:
            self.metric.to(tensor.device)
        self.metric.update(
            *map(_detached, values), **{name: _detached(one) for name, one in named.items()}
        )


class TorchmetricsMeter:
    """`metric` is a node such as `{type: torchmetrics.CohenKappa, task: multiclass, ...}`.

    Its `update` takes what that of the metric takes: mostly `output` and `target`.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("{name}",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {}

    def __init__(self, metric: Any, name: str) -> None:
        _refuse_other_than_one_metric(metric)
        metric.distributed_available_fn = _never  # processes are merged here, and only once
        self.metric = metric
        self._apart: list[dict[str, Any]] = []
        self.name = name
        self.HIGHER_IS_BETTER = {name: bool(metric.higher_is_better)}  # type: ignore[misc]
        self.update: Callable[..., None] = _Update(metric)

    def compute(self) -> dict[str, float]:
        """The value, or one of each entry where there are several; empty before the first one."""
        parts = self._parts()
        if not parts:
            return {}
        metric = deepcopy(self.metric) if self._apart else self.metric
        if self._apart:
            _take(metric, self._merged(parts))
        found = metric.compute()
        metric._computed = None
        if isinstance(found, dict):
            return {
                name: value
                for key, one in found.items()
                for name, value in self._numbers(f"{self.name}_{key}", one).items()
            }
        return self._numbers(self.name, found)

    def reset(self) -> None:
        self.metric.reset()
        self._apart = []

    def merge(self, states: Sequence[State]) -> None:
        """Become the combination of these states.

        What the metric itself puts together, and only to compute, stays apart until then: it could
        not go on from that.
        """
        self.reset()
        parts = [part for state in states for part in state.get("apart", ())]
        parts += [state["states"] for state in states if state.get("filled")]
        if len(parts) > 1 and any(
            self.metric._reductions[name] is None and not isinstance(value, list)
            for name, value in parts[0].items()
        ):
            self._apart = parts
        elif parts:
            _take(self.metric, self._merged(parts))

    def state_dict(self) -> State:
        own, apart = _copied(self.metric.metric_state), [_copied(one) for one in self._apart]
        return {"filled": self.metric.update_called, "states": own, "apart": apart}

    def load_state_dict(self, state: State) -> None:
        self.merge([state])

    def _numbers(self, name: str, found: Any) -> dict[str, float]:
        """A value by its name, those of a table with their places behind it."""
        if not isinstance(found, Tensor):
            raise UserError(
                f"TorchmetricsMeter: {type(self.metric).__name__} gives a {type(found).__name__}, "
                "not numbers",
                todo="Use a metric of numbers, such as the area under a curve.",
            )
        if found.numel() == 1:
            return {name: float(found)}
        values = found.cpu().numpy()
        return {
            "_".join((name, *map(str, place))): float(values[place])
            for place in np.ndindex(values.shape)
        }

    def _parts(self) -> list[dict[str, Any]]:
        """States that are still apart: those of other processes, and the metric's own."""
        own = [self.metric.metric_state] if self.metric.update_called else []
        return [*self._apart, *own]

    def _merged(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {name: self._reduced(name, [part[name] for part in parts]) for name in parts[0]}

    def _reduced(self, name: str, values: list[Any]) -> Any:
        if isinstance(values[0], list):
            return [one.cpu() for value in values for one in value]
        if len(values) == 1:
            return values[0].cpu()
        stacked = torch.stack([value.cpu() for value in values])
        reduce = self.metric._reductions[name]
        if reduce is None:
            return stacked
        return _BY_NAME.get(getattr(reduce, "__name__", ""), reduce)(stacked)


def _never() -> bool:
    return False


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in a value and in the lists and mappings of it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _copied(states: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [one.clone() for one in value] if isinstance(value, list) else value.clone()
        for name, value in states.items()
    }


def _take(metric: Any, states: Mapping[str, Any]) -> None:
    """Let the metric have these states, as if it had seen what they count, on its own device."""
    for name, value in states.items():
        several = isinstance(value, list)
        moved = [one.to(metric.device) for one in (value if several else [value])]
        setattr(metric, name, moved if several else moved[0])
    metric._update_count = 1
