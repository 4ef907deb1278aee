"""What is told at an operating point, of each kind of reading."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.telling.classification import Classification, MultiLabel
from cvtrainer.telling.detection import Detection
from cvtrainer.telling.operating import Operated, Operating, operated, tempered, tempered_each
from cvtrainer.telling.reading import shares_of

SCORES = np.asarray([[2.0, 1.0, 0.0], [0.5, 0.4, 0.3], [0.0, 0.1, 3.0]], np.float32)


def told(reading: Any, outputs: dict[str, Any], place: int) -> dict[str, Any]:
    answer: dict[str, Any] = reading.describe(reading.applied(outputs), place, ["a", "b", "c"])
    return answer


def test_shares_are_those_of_scores_over_the_temperature() -> None:
    expected = shares_of(SCORES.astype(np.float64) / 2.5, axis=1)
    assert np.allclose(tempered(shares_of(SCORES, axis=1), 2.5), expected, atol=1e-6)
    single = 1 / (1 + np.exp(-SCORES.astype(np.float64)))
    assert np.allclose(tempered_each(single, 2.0), 1 / (1 + np.exp(-SCORES / 2.0)), atol=1e-6)
    edges = tempered_each(np.asarray([[0.0, 1.0]], np.float32), 1.0)
    assert np.isfinite(edges).all()
    assert edges.tolist() == [[0.0, 1.0]]


def test_who_is_not_sure_enough_is_unknown() -> None:
    reading = Classification()
    outputs = reading.decode({"output": SCORES})
    at = Operated(reading, Operating(1.0, (0.6, 0.3, None)))
    assert told(at, outputs, 0)["class"] == "a"
    unsure = told(at, outputs, 1)
    assert (unsure["class"], unsure["class_id"]) == ("unknown", None)
    assert unsure["top"][0]["class"] == "a"
    assert told(at, outputs, 2)["class"] == "unknown"  # a class that is never answered
    assert told(reading, outputs, 1)["class"] == "a"
    soft = told(Operated(reading, Operating(4.0)), outputs, 0)
    assert soft["class_id"] == 0
    assert soft["probability"] < told(reading, outputs, 0)["probability"]


def test_the_best_classes_of_an_artefact_have_the_shares_that_are_told() -> None:
    reading = Classification()
    outputs = reading.decode({"output": np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 4.0]])})
    best = np.argsort(-outputs["probabilities"], axis=1)[:, :2]
    shares = np.take_along_axis(outputs["probabilities"], best, axis=1)
    given = {**outputs, "top_probabilities": shares, "top_classes": best}
    made = Operated(reading, Operating(2.0, (0.5,) * 3)).applied(given)
    assert made["top_probabilities"][:, 0].tolist() == made["probabilities"].max(axis=1).tolist()
    assert (made["top_probabilities"][:, 0] < shares[:, 0]).all()


def test_labels_are_there_from_their_own_thresholds_on() -> None:
    reading = MultiLabel()
    outputs = reading.decode({"output": np.asarray([[0.5, 0.5, 5.0]], np.float32)})
    at = Operated(reading, Operating(1.0, (0.7, 0.6, None)))
    assert [one["class"] for one in told(at, outputs, 0)["classes"]] == ["b"]
    usual = told(reading, outputs, 0)["classes"]
    assert [one["class"] for one in usual] == ["c", "a", "b"]


def test_objects_are_told_from_their_own_thresholds_on() -> None:
    outputs = {
        "found_boxes": np.zeros((1, 4, 4), np.float32),
        "found_scores": np.asarray([[0.9, 0.5, 0.2, 0.0]], np.float32),
        "found_classes": np.asarray([[0, 1, 1, 7]]),
    }
    at = Operated(Detection(told_from=0.6), Operating(1.0, (0.95, 0.1)))
    assert [one["score"] for one in told(at, outputs, 0)["objects"]] == pytest.approx([0.5, 0.2])
    free = Operated(Detection(told_from=0.6), Operating(1.0))
    assert [one["class"] for one in told(free, outputs, 0)["objects"]] == ["a"]


def test_without_a_point_the_reading_stays_itself() -> None:
    reading = Classification()
    assert operated(reading, None, "here") is reading
    back = Operating.of_plain(Operating(1.5, (0.5, None)).plain(), "here")
    assert back == Operating(1.5, (0.5, None))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"temperature": 1, "thresholds": [2]},
        {"temperature": 1, "thresholds": [float("nan")]},
        {"temperature": 1, "thresholds": 5},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(UserError, match="here: "):
        Operating.of_plain(wrong, "here")
