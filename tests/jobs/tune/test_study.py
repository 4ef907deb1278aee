"""The study in its file: draws that go on as they would have, nothing twice, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.hooks.base import BaseHook
from cvtrainer.jobs.tune.space import read_space
from cvtrainer.jobs.tune.study import StudyFile, locked
from cvtrainer.jobs.tune.sweep_hook import SweepHook
from cvtrainer.meters import LossMeter
from tests.toy import toy_trainer

SPACE = read_space(["lr=log(1e-4,1)", "kind=choice(a,b)"])
POINTS = read_space(["width=int(1,3)", "kind=choice(a,b)"])


def study_at(path: Path, **more: Any) -> StudyFile:
    return StudyFile(path, pruner=more.pop("pruner", "none"), direction="maximize", **more)


def draw(study: StudyFile, count: int, sampler: Any = "tpe", space: Any = SPACE) -> list[Any]:
    """Ask and complete so many trials."""
    drawn = []
    for _ in range(count):
        ticket = study.ask(space, sampler, 7)
        if ticket is None:
            break
        study.complete(ticket.number, float(ticket.number % 5))
        drawn.append(ticket.values)
    return drawn


@pytest.mark.parametrize("name", ["study.db", "study.journal"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_that_is_opened_again_draws_what_it_would_have_drawn(
    tmp_path: Path, name: str, sampler: str
) -> None:
    whole = draw(study_at(tmp_path / f"whole_{name}"), 14, sampler)
    parts = [value for _ in range(7) for value in draw(study_at(tmp_path / name), 2, sampler)]
    assert parts == whole
    assert len({repr(values) for values in whole}) == 14


def test_a_grid_visits_every_point_once_also_in_two_sittings(tmp_path: Path) -> None:
    first = draw(study_at(tmp_path / "study.db"), 4, "grid", POINTS)
    second = draw(study_at(tmp_path / "study.db"), 9, "grid", POINTS)
    points = [(values["width"], values["kind"]) for values in [*first, *second]]
    assert points == [(width, kind) for width in (1, 2, 3) for kind in ("a", "b")]


def test_a_trial_that_is_handed_over_comes_back_with_its_values_and_folder(tmp_path: Path) -> None:
    study = study_at(tmp_path / "study.db")
    first = study.ask(SPACE, "tpe", 0)
    assert first is not None
    study.hand_over(first.number, "interrupted")
    again = study_at(tmp_path / "study.db").ask(SPACE, "tpe", 0)
    assert again is not None
    assert (again.values, again.folder_of, again.number) == (first.values, 0, 1)
    study.hand_over(again.number, "interrupted")
    third = study.ask(SPACE, "tpe", 0)
    assert third is not None
    assert (third.values, third.folder_of) == (first.values, 0)
    assert [row.state for row in study.rows()] == ["taken over", "taken over", "running"]


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    study = study_at(tmp_path / "study.db")
    study.agree({"config": {"stages": [{"name": "a", "epochs": 3}]}, "metric": "val/loss"})
    study.agree({"metric": "val/loss"})
    with pytest.raises(UserError, match=r"another config \(stages.a.epochs\)"):
        study.agree({"config": {"stages": [{"name": "a", "epochs": 4}]}})
    with pytest.raises(UserError, match=r"another metric \(val/loss, now val/accuracy\)"):
        study.agree({"metric": "val/accuracy"})
    with pytest.raises(UserError, match="maximize its metric, not to minimize"):
        StudyFile(tmp_path / "study.db", pruner="none", direction="minimize")


def test_one_sweep_at_a_time_uses_a_study(tmp_path: Path) -> None:
    with locked(tmp_path / "study.db"):
        with pytest.raises(UserError, match="another sweep"), locked(tmp_path / "study.db"):
            pass
        with locked(tmp_path / "other.db"):
            pass
    with locked(tmp_path / "study.db"):
        pass


def test_the_best_is_complete_and_goes_by_the_direction(tmp_path: Path) -> None:
    study = study_at(tmp_path / "study.db")
    assert study.best() is None
    draw(study, 3)
    ticket = study.ask(SPACE, "tpe", 0)
    assert ticket is not None
    study.report(ticket.number, {1: 99.0})
    study.prune(ticket.number)
    best = study.best()
    assert best is not None
    assert best.number == 2
    assert study.rows()[3].state == "pruned"


class Epochs(BaseHook):
    """Counts them."""

    def __init__(self) -> None:
        self.done = 0

    def after_epoch(self, stage: Any) -> None:
        self.done += 1


def test_the_hook_stops_at_a_border_and_reports_again_after_a_resume() -> None:
    told: list[dict[int, float]] = []

    def report(reports: Any) -> bool:
        told.append(dict(reports))
        return max(reports) == 2

    hook, epochs = SweepHook("val_loss", "train", report), Epochs()
    trainer = toy_trainer([hook, epochs], meters=[LossMeter()])
    trainer.train(5)
    assert hook.pruned
    assert epochs.done == 2
    assert [list(one) for one in told] == [[1], [2]]
    state = trainer.state_dict()
    again = SweepHook("val_loss", "train", lambda reports: bool(told.append(dict(reports))))
    other = toy_trainer([again, Epochs()], meters=[LossMeter()])
    other.load_state_dict(state)
    other.train(3)
    assert told[2] == {1: hook.values[0], 2: hook.values[1]}
    assert list(told[3]) == [3]


def test_a_median_prunes_what_is_worse(tmp_path: Path) -> None:
    study = study_at(tmp_path / "study.db", pruner="median")
    for _ in range(5):
        ticket = study.ask(SPACE, "random", 0)
        assert ticket is not None
        assert not study.report(ticket.number, {1: 0.9})
        study.complete(ticket.number, 0.9)
    for value, wanted in ((0.95, False), (0.1, True)):
        ticket = study.ask(SPACE, "random", 0)
        assert ticket is not None
        assert study.report(ticket.number, {1: value}) is wanted
