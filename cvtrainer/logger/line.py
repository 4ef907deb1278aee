"""How numbers look to a person: one line a record, the same in the console and in `train.log`.

Names lose the phase they begin with, because the line says it once. Numbers keep the digits that
matter and a width that makes the columns of successive lines stand below each other.
"""

from __future__ import annotations

import math

from cvtrainer.protocols import LogRecord

_WIDTH = 8


def number(value: float) -> str:
    """Four digits after the point where that says something, powers of ten where it does not."""
    if not math.isfinite(value):
        return str(float(value))
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.1f}"
    if value == 0 or size >= 1e-3:
        return f"{value:.4f}"
    return f"{value:.2e}"


def named_values(record: LogRecord) -> dict[str, str]:
    """The values as they are shown, under their short names."""
    prefix = f"{record.phase}/"
    return {name.removeprefix(prefix): number(value) for name, value in record.values.items()}


def position(record: LogRecord) -> str:
    """Where in the run the record was made."""
    return f"epoch {record.epoch:<3} step {record.step:<6}"


def values_text(record: LogRecord) -> str:
    """All values in columns."""
    shown = [f"{name} {value:<{_WIDTH}}" for name, value in named_values(record).items()]
    return " ".join(shown).rstrip()
