"""What outputs are compared with: one criterion, or several named ones with a factor each.

How fields reach parameters is found out on the first batch of a form and reused from then on. A
criterion returns a scalar, or a mapping of named parts whose `loss` is the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import (
    Arguments,
    Key,
    compile_arguments,
    form_of,
    leaf_keys,
    names_of_predictions,
    target_fields,
)
from cvtrainer.protocols import Batch, Outputs


@dataclass
class Criterion:
    """A loss, what its value is multiplied by, and which field each parameter gets."""

    module: nn.Module
    factor: float = 1.0
    bind: Mapping[str, str] | None = None
    arguments: dict[tuple[str, ...], Arguments] = field(default_factory=dict)

    def compare(self, batch: Batch, outputs: Outputs, who: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its named parts."""
        form = (*form_of(batch), *outputs)
        arguments = self.arguments.get(form)
        if arguments is None:
            arguments = self.arguments[form] = self._bound(batch, outputs, who)
        value = arguments.call(self.module, {**batch, "outputs": outputs})
        return (value, {}) if isinstance(value, Tensor) else _total_and_parts(value, who)

    def _bound(self, batch: Batch, outputs: Outputs, who: str) -> Arguments:
        results: dict[str, Key] = {name: ("outputs", name) for name in outputs}
        named = {**leaf_keys(batch), **results}
        if isinstance(batch.get("target"), Mapping):
            named.pop("target", None)
        return compile_arguments(
            self.module.forward,
            who=who,
            named=named,
            spare=[*list(results.values())[:1], *target_fields(batch)],
            bind=self.bind,
            nameless=names_of_predictions(self.module.forward, batch, outputs),
        )


class Criteria(nn.ModuleDict):
    """Several criteria; their sum is the loss, and each is reported by its name, unmultiplied."""

    def __init__(self, parts: Mapping[str, Criterion]) -> None:
        super().__init__({name: part.module for name, part in parts.items()})
        self.parts = dict(parts)

    def compare(self, batch: Batch, outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
        total: Any = None
        reported: dict[str, Tensor] = {}
        for name, criterion in self.parts.items():
            value, parts = criterion.compare(batch, outputs, f"criterion.{name}")
            weighted = value if criterion.factor == 1.0 else value * criterion.factor
            total = weighted if total is None else total + weighted
            reported[name] = value
            reported.update({f"{name}_{part}": one for part, one in parts.items()})
        return total, reported


def _total_and_parts(value: Any, who: str) -> tuple[Tensor, dict[str, Tensor]]:
    """A mapping of losses: its `loss` is the total, else the sum of all."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"{who}: it returns {type(value).__name__}; return a scalar tensor or a mapping"
        )
    parts = {str(name): part for name, part in value.items() if name != "loss"}
    return (value["loss"] if "loss" in value else sum(parts.values())), parts
