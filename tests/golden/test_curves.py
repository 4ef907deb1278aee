"""Fifty-step curves: equal to a hand-written loop bit for bit, and to the stored ones to 1e-4.

After a change that is meant to move a curve, `python -m tests.golden.test_curves` rewrites the
stored values; the difference belongs into the commit's message.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.techniques import TECHNIQUES
from tests.golden.world import STEPS

STORED = Path(__file__).with_name("curves.json")
CLOSE = 1e-4
MARKED = [
    pytest.param(name, marks=[pytest.mark.seed(*one.rows)] if one.rows else [])
    for name, one in TECHNIQUES.items()
]


@pytest.fixture(scope="module")
def stored() -> dict[str, list[float]]:
    """The curves of the repository."""
    read: dict[str, list[float]] = json.loads(STORED.read_text(encoding="utf-8"))
    return read


@pytest.mark.parametrize("name", MARKED)
def test_the_curve_is_the_hand_written_loops_and_the_stored_one(
    name: str, stored: dict[str, list[float]]
) -> None:
    curve = TECHNIQUES[name].ours()
    assert len(curve) >= STEPS
    assert curve == TECHNIQUES[name].by_hand()
    assert curve == pytest.approx(stored[name], abs=CLOSE, rel=0)


def test_every_technique_learns_and_differs_from_the_others(
    stored: dict[str, list[float]],
) -> None:
    assert sorted(stored) == sorted(TECHNIQUES)
    for name, curve in stored.items():
        assert sum(curve[40:50]) < 0.9 * sum(curve[:10]), name
    seen = [tuple(curve[:STEPS]) for name, curve in stored.items() if name not in ("ema", "swa")]
    assert len(set(seen)) == len(seen)


def write_stored() -> None:
    """Draw all curves anew."""
    curves = {name: one.ours() for name, one in TECHNIQUES.items()}
    lines = [
        f"  {json.dumps(name)}: {json.dumps([round(value, 7) for value in curve])}"
        for name, curve in curves.items()
    ]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write_stored()
