"""Operating points: goals are reached or said to be out of reach, and figures do not flatter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.operating.evidence import Answers, AnyOfMany, Found, OneOfMany
from cvtrainer.deploy.operating.fit import point_of
from cvtrainer.deploy.operating.goal import Aim, Goal, goal_of
from cvtrainer.deploy.operating.matching import right_ones
from cvtrainer.deploy.operating.temperature import calibration_error, temperature_of
from cvtrainer.deploy.operating.thresholds import thresholds_of
from cvtrainer.telling.operating import tempered

Array = np.ndarray[Any, Any]


def shares_and_labels(count: int, *, too_sure: float, classes: int = 4) -> tuple[Array, Array]:
    """Labels drawn from shares, and these shares as a network gives them that is too sure."""
    draw = np.random.default_rng(5)
    scores = draw.normal(0, 1.5, (count, classes))
    true = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) > draw.random((count, 1))).argmax(axis=1)
    sure = np.exp(scores * too_sure)
    return (sure / sure.sum(axis=1, keepdims=True)).astype(np.float32), labels


def answers(scores: list[float], right: list[bool], truths: int) -> Answers:
    """Of one class."""
    count = len(scores)
    return Answers(
        *(np.arange(count), np.zeros(count, int), np.asarray(scores), np.asarray(right)),
        np.asarray([truths]),
        count,
    )


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_is_by_how_much_the_network_is_too_sure(too_sure: float) -> None:
    shares, labels = shares_and_labels(4000, too_sure=too_sure)
    found = temperature_of(shares, np.eye(4, dtype=bool)[labels], exclusive=True)
    assert found == pytest.approx(too_sure, rel=0.1)
    assert tempered(shares, 2.0).argmax(axis=1).tolist() == shares.argmax(axis=1).tolist()


def test_labels_that_stand_for_themselves_have_one_temperature() -> None:
    draw = np.random.default_rng(1)
    scores = draw.normal(0, 1.5, (4000, 3))
    truth = draw.random((4000, 3)) < 1 / (1 + np.exp(-scores))
    found = temperature_of(1 / (1 + np.exp(-2 * scores)), truth, exclusive=False)
    assert found == pytest.approx(2.0, rel=0.1)


def test_where_no_temperature_is_better_scores_stay_what_they_are() -> None:
    labels = np.eye(2, dtype=bool)[np.arange(20) % 2]
    assert temperature_of(np.full((20, 2), 0.5), labels, exclusive=True) == 1.0
    assert temperature_of(np.ones((9, 1)), np.ones((9, 1), bool), exclusive=True) == 1.0


def test_a_split_without_a_mistake_does_not_ask_for_certainty() -> None:
    labels = np.arange(40) % 2
    scores = np.where(np.eye(2, dtype=bool)[labels], 0.7, 0.3)
    found = temperature_of(scores, np.eye(2, dtype=bool)[labels], exclusive=True)
    assert tempered(scores, found).max() == pytest.approx(1 - 1 / 42, abs=1e-3)


def test_the_calibration_error_is_the_mean_distance() -> None:
    shares = np.asarray([0.95] * 10 + [0.35] * 10)
    right = np.asarray([1.0] * 5 + [0.0] * 5 + [1.0] * 10)
    assert calibration_error(shares, right) == pytest.approx((0.45 + 0.65) / 2)
    assert calibration_error(np.asarray([1.0]), np.asarray([1.0])) == 0


@pytest.mark.parametrize(
    ("goal", "threshold"),
    [
        (Goal(Aim.PRECISION, 0.75), 0.45),  # three of four, with the wrong one among them
        (Goal(Aim.PRECISION, 0.8), 0.75),  # only the first two
        (Goal(Aim.RECALL, 0.5), 0.75),
        (Goal(Aim.RECALL, 0.6), 0.45),
        (Goal(Aim.ERROR, 0.25), 0.45),
        (Goal(Aim.COVERAGE, 0.6), 0.6),
    ],
    ids=str,
)
def test_thresholds_lie_between_the_last_that_counts_and_the_next(
    goal: Goal, threshold: float
) -> None:
    known = answers([0.9, 0.8, 0.7, 0.5, 0.4], [True, True, False, True, False], 4)
    assert thresholds_of(known, goal, None)[0] == pytest.approx(threshold)


def test_equal_scores_stand_or_fall_together() -> None:
    known = answers([0.9, 0.9, 0.9, 0.2], [True, True, False, True], 3)
    assert thresholds_of(known, Goal(Aim.PRECISION, 1.0), None)[0] == np.inf
    assert thresholds_of(known, Goal(Aim.RECALL, 0.1), None)[0] == pytest.approx(0.55)


def test_a_goal_out_of_reach_is_said_and_the_class_never_answered() -> None:
    shares, labels = shares_and_labels(600, too_sure=1.0)
    wide = np.concatenate((shares, np.zeros((600, 1))), axis=1)  # a class without samples
    labels[labels == 2] = 3
    found = point_of(OneOfMany(wide, labels), goal_of("precision=0.7"), ["a", "b", "c", "d", "e"])
    never = [place for place, one in enumerate(found.operating.thresholds or ()) if one is None]
    assert never == [2, 4]
    assert found.notes == ("without samples, so never answered: c, e",)
    rare = labels.copy()
    rare[:] = 0
    rare[0] = 1
    found = point_of(OneOfMany(shares, rare), goal_of("precision=0.99"), None)
    assert "no threshold gives precision=0.99, so never answered: 1 (at most 0.0" in found.notes[-1]
    usual = point_of(OneOfMany(shares, rare), goal_of("recall=0.99"), None)
    assert (usual.operating.thresholds or ())[2:] == (0.0, 0.0)
    assert "answered as without a goal: 2, 3" in usual.notes[0]


def test_figures_are_of_samples_that_the_point_was_not_found_on() -> None:
    """Scores that say nothing: a threshold found on them holds nothing elsewhere."""
    draw = np.random.default_rng(3)
    shares = draw.dirichlet(np.ones(2), 400)
    labels = draw.integers(0, 2, 400)
    evidence, goal = OneOfMany(shares, labels), goal_of("precision=0.8")
    found = point_of(evidence, goal, None)
    levels = thresholds_of(evidence.answers(np.arange(400), None), goal, None)
    mine = evidence.answers(np.arange(400), None)
    fitted = mine.right[mine.score >= levels[mine.kind]].mean()
    assert fitted >= 0.8  # where it was found
    assert found.told["measured"]["precision"] < 0.7  # anywhere else
    assert found.told["measured"]["precision_at_least"] < found.told["measured"]["precision"]


def test_the_goal_is_reached_where_scores_say_something() -> None:
    shares, labels = shares_and_labels(3000, too_sure=3.0)
    for text, word, least in (
        ("precision=0.85", "precision", 0.83),
        ("recall=0.5", "recall", 0.48),
    ):
        told = point_of(OneOfMany(shares, labels), goal_of(text), None).told
        assert told["measured"][word] == pytest.approx(float(text.split("=")[1]), abs=0.02)
        assert told["measured"][word] >= least
    for text, word in (("error=0.15", "error"), ("coverage=0.6", "coverage")):
        told = point_of(OneOfMany(shares, labels), goal_of(text), None).told
        assert told["measured"][word] == pytest.approx(float(text.split("=")[1]), abs=0.02)
    assert told["calibration"]["error"] < 0.03 < 0.1 < told["calibration"]["error_before"]
    assert told["calibration"]["nll"] < told["calibration"]["nll_before"]


def test_twice_the_same_samples_give_the_same_point() -> None:
    shares, labels = shares_and_labels(200, too_sure=2.0)
    one, two = (point_of(OneOfMany(shares, labels), goal_of("error=0.2"), None) for _ in range(2))
    assert one == two


def test_labels_each_for_itself_reach_precision() -> None:
    draw = np.random.default_rng(2)
    shares = draw.random((2000, 3))
    truth = draw.random((2000, 3)) < shares
    told = point_of(AnyOfMany(shares, truth, 0.5), goal_of("precision=0.9"), None).told
    assert told["measured"]["precision"] == pytest.approx(0.9, abs=0.02)
    assert told["before"]["precision"] == pytest.approx(0.75, abs=0.03)
    assert told["thresholds"] == pytest.approx([0.8] * 3, abs=0.06)


def test_found_objects_have_thresholds_and_no_temperature() -> None:
    sample = np.repeat(np.arange(20), 4)
    score = np.tile([0.9, 0.7, 0.4, 0.2], 20)
    right = np.tile([True, True, False, False], 20)
    truths = np.full((20, 1), 3)
    found = Answers(sample, np.zeros(80, int), score, right, truths.sum(axis=0), 20)
    told = point_of(Found(found, truths, 0.25), goal_of("precision=0.95"), ["cell"]).told
    assert told["thresholds"] == pytest.approx([0.55])
    assert told["measured"]["precision"] == 1.0
    assert told["measured"]["recall"] == pytest.approx(2 / 3)
    assert told["before"]["precision"] == pytest.approx(2 / 3)
    assert "calibration" not in told
    for text, why in (("error=0.1", "one class per sample"), ("calibrated", "not calibrated")):
        with pytest.raises(UserError, match=why):
            point_of(Found(found, truths, 0.25), goal_of(text), None)


def test_each_object_is_found_once_by_the_surest_of_its_class() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]], float)
    kinds = np.asarray([1, 1, 2, 1])
    right = right_ones(boxes, np.asarray([0.5, 0.9, 0.8, 0.7]), kinds, boxes[:1], np.asarray([1]))
    assert right.tolist() == [False, True, False, False]
    nothing = right_ones(boxes, np.ones(4), kinds, np.zeros((0, 4)), np.zeros(0, int))
    assert not nothing.any()


@pytest.mark.parametrize(
    "text", ["precision", "precision=", "precision=2", "error=0", "error=1", "calibrated=1", "f1=1"]
)
def test_what_is_no_goal_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--operate"):
        goal_of(text)


def test_one_sample_is_not_enough() -> None:
    with pytest.raises(UserError, match="cannot be found on 1 samples"):
        point_of(OneOfMany(np.ones((1, 2)) / 2, np.zeros(1)), goal_of("calibrated"), None)
