"""Does it fit: a plan against what a board has, in words that say what is over and by how much.

A kb in a `deploy:` block has 1024 bytes, as on the data sheets of microcontrollers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.planner.graph import Precision, Rules
from cvtrainer.deploy.planner.plan import Plan, plan

KB = 1024
_HALVES = "fp16"
"""Weights are kept in halves and computed with in floats: activations are planned as these, and how
large the weights are is seen in the artefact."""


@dataclass(frozen=True)
class Limits:
    """Bytes of activation memory and of weights that there is room for; None is no limit."""

    ram_bytes: int | None = None
    flash_bytes: int | None = None

    @classmethod
    def of_block(cls, block: Mapping[str, Any]) -> Limits:
        """From the keys `max_peak_ram_kb` and `max_size_kb` of a `deploy:` block."""
        return cls(_bytes(block, "max_peak_ram_kb"), _bytes(block, "max_size_kb"))


@dataclass(frozen=True)
class Finding:
    """Something that does not fit: what the plan needs of `resource` and what there is."""

    resource: str
    needs_bytes: int
    limit_bytes: int
    tensors: tuple[str, ...] = ()

    def __str__(self) -> str:
        over = self.needs_bytes / self.limit_bytes
        line = (
            f"{self.resource}: {kib(self.needs_bytes)} of {kib(self.limit_bytes)}, "
            f"{over:.2f} times what there is"
        )
        return f"{line}; the most is held by {' and '.join(self.tensors)}" if self.tensors else line


def kib(count: int) -> str:
    """240.0 KiB."""
    return f"{count / KB:,.1f} KiB"


def too_much(planned: Plan, limits: Limits) -> list[Finding]:
    """What of the plan is over its limit; empty when it fits."""
    found = []
    if limits.ram_bytes is not None and planned.arena_bytes > limits.ram_bytes:
        tensors = sorted(planned.peak_tensors, key=lambda one: -one.bytes)
        names = tuple(f"{one.name} {kib(one.bytes)}" for one in tensors)
        found.append(Finding("RAM", planned.arena_bytes, limits.ram_bytes, names))
    if limits.flash_bytes is not None and planned.size_bytes > limits.flash_bytes:
        found.append(Finding("flash", planned.size_bytes, limits.flash_bytes))
    return found


def check_block(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    block: Mapping[str, Any],
) -> list[Finding]:
    """What a `deploy:` block's limits say of a model that need not be trained yet.

    Without limits in the block nothing is exported and nothing found.
    """
    limits = Limits.of_block(block)
    precision = str(block.get("precision") or "int8")
    if precision == _HALVES:
        limits, precision = replace(limits, flash_bytes=None), Precision.FLOAT.value
    if limits == Limits():
        return []
    rules = Rules(precision_of(precision))
    return too_much(plan(model, args, kwargs, rules=rules), limits)


def precision_of(text: str) -> Precision:
    """By its name; `fp32` and `float32` are `float`."""
    name = {"fp32": "float", "float32": "float"}.get(text, text)
    known = [one.value for one in Precision]
    if name not in known:
        raise UserError(f"the planner knows no precision {text!r}", todo=f"It has {known}.")
    return Precision(name)


def _bytes(block: Mapping[str, Any], key: str) -> int | None:
    value = block.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UserError(f"{value!r} is no size in kb", where=f"deploy.{key}", todo="Write 256.")
    return int(value * KB)
