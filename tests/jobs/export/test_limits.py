"""How much each metric may lose, what somebody asks for instead, and which one is worst."""

from __future__ import annotations

import math

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.jobs.export.limits import Drop, Limits, drop_of
from cvtrainer.jobs.export.proof import Proof


def proof_of(falling: tuple[str, ...] = (), **drops: tuple[float, float]) -> Proof:
    """By name: the trained model's value, and by how much the artefact's is worse."""
    proof = Proof(samples=9, falling=set(falling))
    for name, (trained, worse) in drops.items():
        proof.trained[name], proof.worse[name] = trained, worse
        proof.artefact[name] = trained + worse if name in falling else trained - worse
    return proof


def failing(proof: Proof, precision: str = "int8", asked: Drop = None) -> list[str]:
    return [line.split()[0] for line in Limits(precision, asked).failures(proof)]


@pytest.mark.parametrize(
    ("name", "drop"),
    [("accuracy", 0.005), ("map_50", 0.015), ("map", 0.02), ("miou", 0.01), ("left_miou", 0.01)],
)
def test_of_8_bits_each_metric_has_a_limit_of_its_own(name: str, drop: float) -> None:
    assert failing(proof_of(**{name: (0.9, drop - 1e-6)})) == []
    assert failing(proof_of(**{name: (0.9, drop + 1e-6)})) == [name]


def test_floats_lose_nothing_that_could_be_seen() -> None:
    drops = {"map_50": (0.9, 0.0021), "miou": (0.9, 0.0019), "accuracy": (0.9, 0.0021)}
    assert failing(proof_of(**drops), "fp32") == ["map_50", "accuracy"]


def test_errors_grow_by_a_part_of_what_they_are() -> None:
    drops = {"mae": (50.0, 0.9), "rmse": (50.0, 1.1), "psnr": (30.0, 0.5)}
    assert failing(proof_of(("mae", "rmse"), **drops)) == ["rmse"]
    assert failing(proof_of(("mae",), mae=(0.0, 0.1))) == ["mae"]


def test_what_moves_by_chance_is_told_and_judged_where_it_is_asked_for() -> None:
    proof = proof_of(map_small=(0.5, 0.2), accuracy_of_cat=(0.9, 0.2), map_50=(0.9, 0.0))
    assert failing(proof) == []
    assert set(Limits("int8").allowed(proof)) == {"map_50"}
    assert failing(proof, asked={"map_small": 0.1}) == ["map_small"]
    assert failing(proof, asked=-0.1) == ["map_50"]


def test_what_is_no_number_fails_unless_the_trained_model_has_none() -> None:
    assert failing(proof_of(accuracy=(0.9, math.nan))) == ["accuracy"]
    assert failing(proof_of(accuracy=(math.nan, math.nan))) == []


def test_the_worst_metric_uses_most_of_what_it_may_lose() -> None:
    proof = proof_of(map_50=(0.9, 0.012), accuracy=(0.9, 0.005), mae=(0.9, 0.0))
    assert Limits("int8").worst(proof) == (pytest.approx(1.0), "accuracy")
    assert Limits("int8", {"map_50": 0.0}).worst(proof) == (pytest.approx(1.012), "map_50")
    assert Limits("int8", 0.0).worst(proof_of(accuracy=(0.9, -0.1)))[0] <= 1


def test_the_words_of_the_command_line() -> None:
    assert drop_of("0.005") == 0.005
    assert drop_of("map_50=0.015, miou=0.01") == {"map_50": 0.015, "miou": 0.01}
    for text in ("much", "map_50", "map_50=much", "=0.1", "nan", "map_50=0.1,0.2"):
        with pytest.raises(UserError, match=r"Write 0\.005, or"):
            drop_of(text)


def test_something_must_be_judged_where_decisions_may_differ() -> None:
    with pytest.raises(UserError, match="no metric is judged, so nothing would say what int8"):
        Limits("int8").insist_on_one(proof_of())
    told = proof_of(map_75=(0.5, 0.4))
    with pytest.raises(UserError, match="only told: map_75"):
        Limits("int8").insist_on_one(told)
    Limits("int8", {"map_75": 0.5}).insist_on_one(told)


def test_units_lose_a_part() -> None:
    assert Limits("int8").allowed(proof_of(perplexity=(20.0, 0.0))) == {"perplexity": 0.4}


def test_a_metric_that_nobody_measures_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="no metric 'map50'; map_50\\?"):
        Limits("int8", {"map50": 0.1}).insist_on({"map_50": 0.9, "miou": 0.9})
    Limits("int8", {"map_50": 0.1}).insist_on({"map_50": 0.9})
