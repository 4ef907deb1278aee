"""Where two traces part, and where a run is killed; on records written by hand."""

from __future__ import annotations

from typing import Any

from cvtrainer.jobs.verify_resume.borders import choose_kills
from cvtrainer.jobs.verify_resume.compare import (
    first_moment,
    first_parting,
    log_partings,
    varying_leaves,
)
from cvtrainer.jobs.verify_resume.owners import from_moments, from_start, where
from cvtrainer.jobs.verify_resume.verdict import Difference, Verdict


def border(epoch: int, batch: int, *, end: bool = False, in_group: bool = False, **state: str):
    return {
        "kind": "border",
        "border": ["train", epoch, batch, end],
        "step": batch,
        "in_group": in_group,
        "state": state,
    }


def batch(epoch: int, number: int, **content: str) -> dict[str, Any]:
    place = ["train", epoch, number, False]
    shown = {"phase": "train", "epoch": epoch, "number": number, "evaluation": 0}
    return {"kind": "batch", "border": place, "content": content, **shown}


def run(per_epoch: int = 4, epochs: int = 3, *, stages: int = 1) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for stage in range(stages):
        name = f"stage{stage}"
        records.append({"kind": "stage", "stage": name, "per_epoch": per_epoch, "parts": {}})
        made = [
            border(epoch, number, in_group=number % 2 == 1, weight=f"{epoch}.{number}")
            for epoch in range(1, epochs + 1)
            for number in range(per_epoch + 1)
        ]
        made.append(border(epochs, per_epoch, end=True, weight="end"))
        for record in made:
            record["border"][0] = name
        records += made
    return records


def test_a_later_part_of_the_same_run_is_equal_as_far_as_it_goes() -> None:
    whole = run()
    assert first_parting(whole, whole[5:9], to_the_end=False) is None
    assert first_parting(whole, whole[5:]) is None
    shorter = first_parting(whole, whole[5:9])
    assert shorter is not None
    assert not shorter.what


def test_the_first_difference_and_the_last_equal_border_are_told() -> None:
    whole, other = run(), run()[5:]
    other[3] = border(2, 2, weight="other")
    other[3]["border"][0] = "stage0"
    parting = first_parting(whole, other, to_the_end=False)
    assert parting is not None
    assert parting.before == ("stage0", 2, 1, False)
    assert parting.what == {"weight": ("2.2", "other")}
    assert where(parting.record) == "after batch 2 of epoch 2 (step 2), stage stage0"
    assert parting.record["border"] == ["stage0", 2, 2, False]


def test_a_state_that_was_not_taken_back_has_no_equal_border() -> None:
    whole, other = run(), run()[5:]
    other[0] = {**other[0], "state": {"weight": "other"}}
    parting = first_parting(whole, other)
    assert parting is not None
    assert parting.before is None


def test_a_batch_that_differs_comes_before_its_consequences() -> None:
    whole = [border(1, 0, a="1"), batch(1, 0, x="1"), border(1, 1, a="2")]
    other = [border(1, 0, a="1"), batch(1, 0, x="9"), border(1, 1, a="3")]
    parting = first_parting(whole, other)
    assert parting is not None
    assert parting.is_batch
    assert where(parting.record) == "at batch 1 of epoch 1, stage train"


def test_what_varies_by_itself_is_left_out_unless_something_follows_from_it() -> None:
    one = [border(1, 0, **{"hooks/speed/seconds": "1.1", "networks/m": "a"})]
    two = [border(1, 0, **{"hooks/speed/seconds": "1.2", "networks/m": "a"})]
    varying = varying_leaves(one, two)
    assert varying == {"hooks/speed/seconds"}
    assert first_parting(one, two, varying=varying) is None
    two[0]["state"]["networks/m"] = "b"
    assert varying_leaves(one, two) == frozenset()


def test_kills_are_spread_and_of_every_kind() -> None:
    kills = choose_kills(run(stages=2), 5, seed=0)
    assert {kill.kind for kill in kills} == {
        "in the middle of a step",
        "in the middle of an epoch",
        "after an epoch",
        "before the end of an epoch",
        "after a stage",
    }
    places = [(kill.border.stage, kill.border.epoch) for kill in kills]
    assert places == sorted(places)
    assert choose_kills(run(), 2, seed=1) == choose_kills(run(), 2, seed=1)
    assert len(choose_kills(run(), 100, seed=0)) <= 16


def test_logs_are_compared_but_for_what_varies_by_itself() -> None:
    one = [{"step": 1, "train/loss": 1.0, "samples/s": 10.0, "time": 1}]
    two = [{"step": 1, "train/loss": 1.0, "samples/s": 12.0, "time": 2}]
    other = [{"step": 1, "train/loss": 1.5, "samples/s": 13.0, "time": 3}]
    assert log_partings(one, two, two) == []
    assert log_partings(one, other, two) == [(1, "train/loss", 1.0, 1.5)]
    assert log_partings(one, [], two) == [(1, "lines", 1, 0)]


def moment(kind: str, name: str, what: str, **changed: str) -> dict[str, Any]:
    owner = [kind, name, ""]
    return {"kind": "moment", "owner": owner, "what": what, "changed": changed, "gone": []}


def test_the_owner_is_who_acted_before_the_first_moment_that_differs() -> None:
    same = moment("loop", "", "the border", a="1")
    one = [same, moment("hook", "h", "before_optimize", g="1"), moment("optimizer", "main", "x")]
    two = [same, moment("hook", "h", "before_optimize", g="2"), moment("optimizer", "main", "y")]
    kept = {"kind": "kept", "parts": {"hook:h": {"seen": "7"}}}
    other = {"kind": "kept", "parts": {"hook:h": {"seen": "0"}}}
    assert first_moment(one, two) == (one[1], two[1])
    parting = first_parting([border(1, 0, a="1"), border(1, 1, a="2")], [border(1, 0, a="1")])
    assert parting is not None
    found = from_moments(parting, {}, [kept, *one], [other, *two])
    assert found.owner == "hook h"
    assert "seen is 7 in the straight run and 0 in the resumed one" in found.reason


def test_what_before_train_changes_is_not_blamed_on_the_network() -> None:
    parting = first_parting([border(1, 1, **{"networks/m/w": "1"})], [border(1, 1, other="2")])
    assert parting is not None
    started = moment("loop", "", "taking the state back", **{"networks/m/w": "1"})
    changed = moment("hook", "anew", "before_train", **{"networks/m/w": "0"})
    parts = {"networks/m": "Net"}
    assert from_start(parting, parts, [started, changed]).owner == "hook anew"
    assert from_start(parting, parts, [started]).owner == "network m (Net)"


def test_the_verdict_in_lines() -> None:
    verdict = Verdict("a.yaml", kills=["after batch 2"])
    assert verdict.lines()[-1].startswith("equal to the last bit")
    verdict.differences.append(Difference("after batch 3", "hook h", "x", "because", "do"))
    told = "\n".join(verdict.lines())
    assert "different after batch 3\n  owner: hook h\n  what: x\n  why: because" in told
    assert verdict.as_plain()["equal"] is False
