"""Any metric of torchmetrics as a meter, by its own name and arguments.

Its states are saved, and merged over ranks as the metric itself says they are to be reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import State


def _is_metric(value: Any) -> bool:
    try:
        from torchmetrics import Metric
    except ImportError as error:
        raise UserError(
            "TorchmetricsMeter: the package torchmetrics is not installed",
            todo="pip install 'cvtrainer[metrics]'.",
        ) from error
    return isinstance(value, Metric)


_BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "dim_zero_sum": lambda values: values.sum(dim=0),
    "dim_zero_mean": lambda values: values.mean(dim=0),
    "dim_zero_max": lambda values: values.amax(dim=0),
    "dim_zero_min": lambda values: values.amin(dim=0),
}


class TorchmetricsMeter:
    """`metric` is a node such as `{type: torchmetrics.CohenKappa, task: multiclass, ...}`."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("{name}",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {}

    def __init__(self, metric: Any, name: str) -> None:
        if not _is_metric(metric):
            raise UserError(
                f"TorchmetricsMeter: {type(metric).__name__} is no metric of torchmetrics",
                todo="Give a node: metric: {type: torchmetrics.CohenKappa, ...}.",
            )
        metric.sync_on_compute = False
        self.metric = metric
        self.name = name
        self.HIGHER_IS_BETTER = {name: bool(metric.higher_is_better)}  # type: ignore[misc]
        self._filled = False

    def update(self, output: Tensor, target: Tensor) -> None:
        if self.metric.device != output.device:
            self.metric.to(output.device)
        self.metric.update(output.detach(), target.detach())
        self._filled = True

    def compute(self) -> dict[str, float]:
        """The value, or one of each entry where there are several; empty before the first one."""
        if not self._filled:
            return {}
        found = self.metric.compute()
        self.metric._computed = None
        if isinstance(found, dict):
            return {
                name: value
                for key, one in found.items()
                for name, value in self._numbers(f"{self.name}_{key}", one).items()
            }
        return self._numbers(self.name, found)

    def reset(self) -> None:
        self.metric.reset()
        self._filled = False

    def merge(self, states: Sequence[State]) -> None:
        """Become the combination of these states."""
        self.reset()
        filled = [state for state in states if state.get("filled")]
        if not filled:
            return
        merged = {
            name: self._merged(name, [state["states"][name] for state in filled])
            for name in self.metric.metric_state
        }
        self._take(merged)

    def state_dict(self) -> State:
        states = {
            name: [one.clone() for one in value] if isinstance(value, list) else value.clone()
            for name, value in self.metric.metric_state.items()
        }
        return {"filled": self._filled, "states": states}

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

    def _merged(self, name: str, values: list[Any]) -> Any:
        if isinstance(values[0], list):
            return [one.cpu() for value in values for one in value]
        stacked = torch.stack([value.cpu() for value in values])
        reduce = self.metric._reductions[name]
        known = _BY_NAME.get(getattr(reduce, "__name__", ""))
        if known is not None:
            return known(stacked)
        if reduce is None and len(values) == 1:
            return values[0].cpu()
        if callable(reduce):
            return reduce(stacked)
        raise UserError(
            f"TorchmetricsMeter: {type(self.metric).__name__} does not say how {name} of several "
            "processes is put together",
            todo="Evaluate it in one process.",
        )

    def _take(self, states: State) -> None:
        for name, value in states.items():
            setattr(self.metric, name, value)
        self.metric._update_count = 1
        self._filled = True
