"""What is told where a config names no task, and how answers become lines and rows."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import torch

from cvtrainer.jobs.prediction.default_reading import default_reading
from cvtrainer.jobs.prediction.writing import json_line, rows_of, table_text


def told(criterion: str, output: torch.Tensor, name: str = "output") -> dict[str, Any]:
    stage = {"criterion": {"type": criterion, "kwargs": {}}}
    reading = default_reading(stage, {name: output})
    return reading.describe({name: output, **reading.decode({name: output})}, 0, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("cvtrainer.loss:CrossEntropyLoss", {"class_id", "class", "probability", "top"}),
        ("torch.nn:BCEWithLogitsLoss", {"classes"}),
        ("torch.nn.MSELoss", {"values"}),
    ],
)
def test_scores_are_what_they_were_trained_for(criterion: str, expected: set[str]) -> None:
    assert set(told(criterion, torch.tensor([[0.0, 3.0, -1.0]]))) == expected


def test_other_outputs_are_told_as_they_are() -> None:
    criterion = "cvtrainer.loss:CrossEntropyLoss"
    assert told(criterion, torch.ones(1, 2, 2)) == {"outputs": {"output": [[1.0, 1.0], [1.0, 1.0]]}}
    large = told(criterion, torch.ones(1, 3, 32, 32), "made")["outputs"]["made"]
    assert large == {"shape": [3, 32, 32], "min": 1.0, "max": 1.0, "mean": 1.0}


def test_lines_are_json_whatever_the_numbers() -> None:
    line = json_line("a.png", {"score": float("nan"), "box": [1 / 3, 2.0]})
    assert json.loads(line) == {"file": "a.png", "score": None, "box": [0.333333, 2.0]}


def test_every_object_has_a_row_and_every_file_one_at_least() -> None:
    found = {"objects": [{"class": "cat", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}] * 2}
    rows = rows_of("a.png", found) + rows_of("b.png", {"objects": []})
    rows += rows_of("c.png", {"shares": {"sky": 0.25}, "values": [1.0, 2.0], "top": [{"n": 1}]})
    read = list(csv.DictReader(io.StringIO(table_text(rows))))
    assert [row["file"] for row in read] == ["a.png", "a.png", "b.png", "c.png"]
    assert [read[1][name] for name in ("class", "x1", "y2")] == ["cat", "1.0", "4.0"]
    assert read[2]["x1"] == ""
    assert (read[3]["shares.sky"], read[3]["values.1"]) == ("0.25", "2.0")
    assert json.loads(read[3]["top"]) == [{"n": 1}]
