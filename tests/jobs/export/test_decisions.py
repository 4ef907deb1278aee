"""When two sets of outputs say the same of a sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cvtrainer.jobs.export.decisions import likeness
from cvtrainer.jobs.export.proof import Proof
from cvtrainer.tasks import (
    Classification,
    Detection,
    Instances,
    Keypoints,
    Regression,
    Segmentation,
    Several,
)


def classified(*scores: float) -> dict[str, Any]:
    outputs = {"output": torch.tensor([scores])}
    return {**outputs, **Classification().decode(outputs)}


def alike(*given: Any) -> bool:
    return likeness(*given).alike


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
    ("other", "share"),
    [
        (found((0.8, 1, [0, 0, 10, 10]), (0.9, 0, [20, 20, 30, 30.2])), 1.0),
        (found((0.9, 0, [20, 20, 30, 30])), 2 / 3),
        (found((0.9, 0, [20, 20, 30, 30]), (0.9, 0, [0, 0, 10, 10])), 0.5),
        (found((0.9, 0, [20, 20, 30, 30]), (0.9, 1, [0, 0, 5, 10])), 0.5),
        (
            found((0.9, 0, [20, 20, 30, 30]), (0.9, 1, [0, 0, 10, 10]), (0.1, 0, [1, 1, 2, 2])),
            1.0,  # below what is told
        ),
    ],
)
def test_each_object_needs_a_partner_of_its_class_in_its_place(
    other: dict[str, Any], share: float
) -> None:
    mine = found((0.9, 0, [20, 20, 30, 30]), (0.85, 1, [0, 0, 10, 10]))
    for both in ((mine, other), (other, mine)):
        found_alike = likeness(Detection(), *both, 0, ("a", "b"))
        assert found_alike.share == pytest.approx(share)
        assert found_alike.alike is (share == 1.0)


@pytest.mark.parametrize("name", ["things", "objects"])
def test_objects_of_several_readings_are_found_below_their_names(name: str) -> None:
    reading = Several({name: Detection(), "others": Detection()})
    mine, less, none = (
        {
            **{f"{name}_{key}": value for key, value in found(*one).items()},
            **{f"others_{key}": value for key, value in found(*two).items()},
        }
        for one, two in (
            ([(0.9, 1, [0, 0, 9, 9]), (0.8, 1, [9, 9, 20, 20])], [(0.9, 0, [1, 1, 9, 9])]),
            ([(0.9, 1, [0, 0, 9, 9])], [(0.9, 0, [1, 1, 9, 9])]),
            ([], []),
        )
    )
    same = likeness(reading, mine, mine, 0, None)
    assert (same.alike, same.share, same.silent) == (True, 1.0, False)
    other = likeness(reading, mine, less, 0, None)
    assert not other.alike
    assert other.share == pytest.approx((2 / 3 + 1.0) / 2)
    assert likeness(reading, none, none, 0, None).silent


def test_maps_may_differ_in_one_place_of_a_thousand() -> None:
    mine = {"class_map": torch.zeros(1, 100, 100, dtype=torch.long)}
    few, many = (mine["class_map"].clone() for _ in range(2))
    mine["class_map"][0, 0, :50] = 1
    few[0, 0, :45] = 1
    many[0, 0, :20] = 1
    assert alike(Segmentation(), mine, {"class_map": few}, 0, None)
    away = likeness(Segmentation(), mine, {"class_map": many}, 0, None)
    assert not away.alike
    assert away.share == pytest.approx(1 - 30 / 10_000)


def test_numbers_must_be_near_where_nothing_else_is_told() -> None:
    task = Regression()
    mine, near, far = ({"output": torch.tensor([[value, 0.0]])} for value in (20.0, 20.1, 20.5))
    assert alike(task, *({**one, **task.decode(one)} for one in (mine, near)), 0, None)
    assert not alike(task, *({**one, **task.decode(one)} for one in (mine, far)), 0, None)


def test_points_must_be_within_a_place_however_sure() -> None:
    task = Keypoints()
    mine, near, far = (
        {"keypoints": torch.tensor([[[5.0, 7.0, 0.9], [x, 7.0, score]]])}
        for x, score in ((20.0, 0.9), (20.8, 0.2), (21.5, 0.9))
    )
    assert alike(task, mine, near, 0, None)
    assert not alike(task, mine, far, 0, None)


def test_masks_must_be_of_one_size() -> None:
    task, mine = Instances(), found((0.9, 0, [0, 0, 10, 10]))
    masks = torch.zeros(1, 2, 12, 12, dtype=torch.uint8)
    masks[0, 0, :10, :10] = 1
    less = masks.clone()
    less[0, 0, :10, :2] = 0
    assert alike(task, {**mine, "found_masks": masks}, {**mine, "found_masks": masks}, 0, ["a"])
    assert not alike(task, {**mine, "found_masks": masks}, {**mine, "found_masks": less}, 0, ["a"])


def test_where_nothing_is_found_at_all_only_a_metric_could_compare() -> None:
    reading, nothing = Detection(), found((0.1, 0, [0, 0, 10, 10]))
    assert likeness(reading, nothing, nothing, 0, None).silent
    there = found((0.9, 0, [0, 0, 10, 10]))
    for both in ((there, nothing), (nothing, there), (there, there)):
        assert not likeness(reading, *both, 0, None).silent
    same = classified(2.0, 1.0)
    assert not likeness(Classification(), same, same, 0, None).silent

    (told,) = Proof(samples=3, silent=3).failures(alike=True, judged=False)
    assert "neither found anything in any sample" in told
    assert not Proof(samples=3, silent=2).failures(alike=True, judged=False)
    assert not Proof(samples=3, silent=3).failures(alike=True, judged=True)
