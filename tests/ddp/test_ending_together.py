"""One of two ranks gets into trouble: both are gone within seconds, and the cause is told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ddp.several import Ended, run_ranks
from tests.ddp.troubles import STUCK_AFTER

SOON = 15.0
BUSY = 3.0
"""On a machine that others keep busy everything takes so many times longer."""
CAUSES = {
    "fail": "ValueError: rank one has had enough",
    "loop": "rank 1 is stuck",
    "sleep": "rank 1 is stuck",
    "longer": "every rank waits for the others, and not at the same place",
    "more": "every rank waits for the others, and not at the same place",
    "halt": "rank 1 gives no sign of life",
}
DOING = {
    "train": "in training, epoch 1",
    "val": "in evaluation (val), epoch 1",
    "save": "while saving, epoch 1",
}


def trouble(folder: Path, kind: str, place: str) -> tuple[Ended, float]:
    ended = run_ranks("tests.ddp.troubles", str(folder), kind, place)
    when = folder / "when"
    return ended, ended.at - float(when.read_text()) if when.exists() else 0.0


def assert_told_once(told: str, cause: str) -> None:
    assert told.count(cause) == 1, told
    others = [one for one in (*CAUSES.values(), "Connection closed") if one != cause]
    assert not [one for one in others if one in told], told
    assert told.count("Traceback") <= 1, told


often = [("fail", "save"), ("kill", "val"), ("loop", "train"), ("longer", "train")]
rest = [
    *(("fail", place) for place in ("train", "val")),
    *(("kill", place) for place in ("train", "save")),
    *(("loop", place) for place in ("val", "save")),
    *(("sleep", place) for place in ("train", "val")),
    ("more", "save"),
    ("halt", "train"),
]


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("kind", "place"), [*often, *(pytest.param(*one, marks=pytest.mark.long) for one in rest)]
)
def test_all_ranks_end_soon_and_the_cause_is_told_once(
    tmp_path: Path, kind: str, place: str
) -> None:
    ended, seconds = trouble(tmp_path, kind, place)
    assert 0 not in ended.codes, ended.told
    limit = 0.0 if kind in ("fail", "kill") else STUCK_AFTER
    assert seconds < limit + BUSY * SOON, ended.told
    if kind == "kill":  # the launcher tells of that, and there is none here
        assert "Traceback" not in ended.told
        assert "stuck" not in ended.told
        return
    assert_told_once(ended.told, CAUSES[kind])
    if kind in ("loop", "sleep"):
        assert "tests/ddp/troubles.py:" in ended.told
        assert DOING[place] in ended.told or kind == "sleep"
        assert "wait for it in a collective" in ended.told


@pytest.mark.long
def test_what_is_only_slow_is_left_alone(tmp_path: Path) -> None:
    ended, _ = trouble(tmp_path, "none", "train")
    assert ended.codes == [0, 0], ended.told
    ended, _ = trouble(tmp_path, "longer", "val")  # evaluation waits at its end only
    assert ended.codes == [0, 0], ended.told
