"""When two sets of outputs say the same of a sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cvtrainer.jobs.export.decisions import alike
from cvtrainer.tasks import Classification, Detection, Segmentation


def classified(*scores: float) -> dict[str, Any]:
    outputs = {"output": torch.tensor([scores])}
    return {**outputs, **Classification().decode(outputs)}


def test_a_class_counts_and_its_share_does_not() -> None:
    mine = classified(2.0, 1.0, 0.5, 0.5001)
    assert alike(Classification(), mine, classified(1.5, 1.0, 0.5001, 0.5), 0, None)
    assert not alike(Classification(), mine, classified(1.0, 2.0, 0.5, 0.4), 0, None)


def found(*objects: tuple[float, int, list[float]]) -> dict[str, Any]:
    rows = [*objects, (0.0, len(objects) % 2, [9.0, 9.0, 1.0, 1.0])]
    return {
        "found_scores": torch.tensor([[score for score, _, _ in rows]]),
        "found_classes": torch.tensor([[kind for _, kind, _ in rows]]),
        "found_boxes": torch.tensor([[box for _, _, box in rows]]),
    }


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (found((0.8, 1, [0, 0, 10, 10]), (0.9, 0, [20, 20, 30, 30.2])), True),
        (found((0.9, 0, [20, 20, 30, 30])), False),
        (found((0.9, 0, [20, 20, 30, 30]), (0.9, 0, [0, 0, 10, 10])), False),
        (found((0.9, 0, [20, 20, 30, 30]), (0.9, 1, [0, 0, 5, 10])), False),
        (
            found((0.9, 0, [20, 20, 30, 30]), (0.9, 1, [0, 0, 10, 10]), (0.1, 0, [1, 1, 2, 2])),
            True,  # below what is told
        ),
    ],
)
def test_each_object_needs_a_partner_of_its_class_in_its_place(
    other: dict[str, Any], same: bool
) -> None:
    mine = found((0.9, 0, [20, 20, 30, 30]), (0.85, 1, [0, 0, 10, 10]))
    assert alike(Detection(), mine, other, 0, ("a", "b")) is same
    assert alike(Detection(), other, mine, 0, ("a", "b")) is same


def test_maps_may_differ_in_one_place_of_a_thousand() -> None:
    mine = {"class_map": torch.zeros(1, 100, 100, dtype=torch.long)}
    few, many = (mine["class_map"].clone() for _ in range(2))
    mine["class_map"][0, 0, :50] = 1
    few[0, 0, :45] = 1
    many[0, 0, :20] = 1
    assert alike(Segmentation(), mine, {"class_map": few}, 0, None)
    assert not alike(Segmentation(), mine, {"class_map": many}, 0, None)
