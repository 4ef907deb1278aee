"""Rungs in their order, each judged; the first that passes is given."""

from __future__ import annotations

import torch
from torch import nn

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.ladder import Ladder, Score
from cvtrainer.deploy.quantize.own_ladder import OwnLadder
from cvtrainer.deploy.quantize.scheme import Scheme
from tests.deploy.quantize.test_ptq import Small, program_of, sample

ORDER = [
    "as asked",
    "weights per tensor",
    "calibrator max",
    "calibrator percentile",
    "calibrator entropy",
    "equalisation",
    "bias correction",
    "1 most sensitive operator float",
    "2 most sensitive operators float",
    "4 most sensitive operators float",
    "8 most sensitive operators float",
]


class Judge:
    """Passes below a limit; counts what it was asked."""

    def __init__(self, program: Program, limit: float) -> None:
        self.program, self.limit = program, limit
        self.asked = 0

    def __call__(self, made: nn.Module) -> Score:
        self.asked += 1
        x = torch.cat(sample(2))
        with torch.no_grad():
            true, found = self.program.exported.module()(x)[0], made(x)[0]
        away_by = float((true - found).abs().mean() / true.std())
        return Score({"distance": away_by}, away_by, away_by <= self.limit)


def ladder_of(limit: float) -> tuple[Ladder, list[str]]:
    torch.manual_seed(0)
    program = program_of(Small())
    said: list[str] = []
    return Ladder(program, sample(2), Judge(program, limit), said.append), said


def test_all_rungs_in_order_and_nothing_where_none_passes() -> None:
    ladder, said = ladder_of(0.0)
    assert list(ladder.passing(Scheme(), Score({"distance": 9.0}, 9.0, passes=False))) == []
    names = [one.rung.name for one in ladder.tried]
    again = "equalisation, calibrator mse"  # only where another calibrator was better before
    assert [name for name in names if name != again] == ORDER
    assert len(said) == len(names)
    assert said[1].startswith("rung 2, weights per tensor: distance ")
    assert ladder.tried[-1].rung.left_float[0] == ladder.sensitive[0].name
    assert ladder.tried[-1].plain()["float"]


def test_it_stops_where_one_passes_and_goes_on_when_asked_for_more() -> None:
    ladder, _ = ladder_of(10.0)
    found = ladder.passing(Scheme(), Score({"distance": 99.0}, 99.0, passes=False))
    assert next(found).precision == "int8"
    assert [one.rung.name for one in ladder.tried] == ORDER[:2]
    next(found)
    assert [one.rung.name for one in ladder.tried] == ORDER[:3]


def test_a_change_that_does_not_help_is_taken_back() -> None:
    ladder, _ = ladder_of(0.0)
    best = Score({"distance": 0.0}, 0.0, passes=False)
    list(ladder.passing(Scheme(), best))
    schemes = {one.rung.name: one.rung.scheme for one in ladder.tried}
    assert schemes["calibrator max"].per_channel
    assert schemes["equalisation"] == Scheme(equalise=True)
    assert schemes["bias correction"] == Scheme(correct_bias=True)
    assert not schemes[ORDER[-1]].correct_bias
    assert len(schemes[ORDER[-1]].float_operators) >= 8


def test_a_target_that_rounds_itself_changes_what_it_can() -> None:
    asked: list[Scheme] = []
    said: list[str] = []

    def make(scheme: Scheme) -> tuple[str, Score]:
        asked.append(scheme)
        away = {"max": 0.5, "percentile": 0.9}.get(scheme.method, 2.0 + scheme.per_channel)
        return scheme.method, Score({"accuracy": away}, away, away <= 0.7, "accuracy")

    ladder = OwnLadder(make, said.append)
    found = ladder.passing(Scheme(), Score({"accuracy": 3.0}, 3.0, passes=False))
    assert list(found) == ["mse", "max", "percentile", "entropy"]
    assert [scheme.per_channel for scheme in asked] == [False] * 4  # what helped stays
    assert [one.rung.name for one in ladder.tried] == ORDER[:5]
    assert [one.score.passes for one in ladder.tried] == [False, False, True, False, False]
    assert said[2] == "rung 3, calibrator max: accuracy 0.5000; passes"
