"""Arrays are decoded and told as the tasks do with tensors."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.ops.boxes import anchor_points
from cvtrainer.tasks import (
    Classification,
    Detection,
    Instances,
    Keypoints,
    MultiLabelClassification,
    Pictures,
    Regression,
    Segmentation,
    Several,
)
from cvtrainer.tasks.reading import tells_below, told_without_torch
from cvtrainer.telling.borders import outer_borders, polygons_of
from cvtrainer.telling.kinds import KINDS, telling_of

CLASSES = ["cat", "dog", "owl"]


def scores(*shape: int) -> dict[str, torch.Tensor]:
    return {"output": torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3}


def dense(count: int = 4, *, masks: bool = False) -> dict[str, torch.Tensor]:
    """What a head with strides 8 and 16 says of pictures of 60 x 50."""
    draw = torch.Generator().manual_seed(count)
    maps = [torch.zeros(1, 1, 8, 7), torch.zeros(1, 1, 4, 4)]
    anchors = torch.cat([anchor_points(one, 8 << place) for place, one in enumerate(maps)])
    made = {
        "scores": torch.randn(count, len(anchors), 3, generator=draw) * 2 - 1,
        "anchors": anchors,
        "distances": torch.randn(count, len(anchors), 4 * 8, generator=draw) * 2,
    }
    if masks:
        made["coefficients"] = torch.randn(count, len(anchors), 5, generator=draw)
        made["prototypes"] = torch.randn(count, 5, 15, 13, generator=draw)
        made["inside"] = torch.zeros(count, 1, 60, 50)
    return made


CASES: list[tuple[Any, dict[str, torch.Tensor]]] = [
    (Classification(top=2), scores(5, 3)),
    (Classification(), scores(5, 3, 4)),
    (MultiLabelClassification(threshold=0.4), scores(5, 3)),
    (Regression(), scores(5)),
    (Regression(names=["a", "b"], mean=[1.0, 2.0], std=[3.0, 0.5]), scores(5, 2)),
    (Segmentation(), scores(5, 3, 6, 7)),
    (Segmentation(threshold=0.7), scores(5, 1, 6, 7)),
    (Keypoints(names=["l", "r"]), scores(5, 2, 9, 8)),
    (Keypoints(softmax=True, stride=2), scores(5, 2, 9, 8)),
    (Pictures("output"), scores(5, 3, 8, 8)),
    (Detection(most=20, candidates=60), dense()),
    (Instances(most=6, candidates=40), dense(masks=True)),
    (Instances(most=6, candidates=40, masks="polygons"), dense(masks=True)),
    (
        Several(
            {"kind": Classification(), "size": Regression(output="far")},
            classes={"kind": ["x", "y", "z"]},
        ),
        {"kind": scores(5, 3)["output"], "far": scores(5, 2)["output"]},
    ),
    (
        Several(
            {
                "things": Detection(most=20, candidates=60),
                "cells": Instances(most=6, candidates=40),
                "pose": Keypoints(),
            }
        ),
        {
            **{f"things_{name}": value for name, value in dense().items()},
            **{f"cells_{name}": value for name, value in dense(masks=True).items()},
            "pose": scores(5, 2, 9, 8)["output"],
        },
    ),
]


@pytest.mark.parametrize(("task", "outputs"), CASES)
def test_decoded_and_told_alike(task: Any, outputs: dict[str, torch.Tensor]) -> None:
    mine = task.decode(outputs)
    told = telling_of(told_without_torch(task).plain(), "here")
    theirs = told.decode({name: value.numpy() for name, value in outputs.items()})
    assert set(theirs) == set(mine)
    assert set(told.decoded) == set(mine)
    assert dict(told.places) == dict(getattr(task, "IN_PICTURE", {}))
    for name, value in mine.items():
        assert tuple(value.shape) == theirs[name].shape
        np.testing.assert_allclose(theirs[name], value.numpy(), atol=1e-4, err_msg=name)
    arrays = {name: value.numpy() for name, value in {**outputs, **mine}.items()}
    assert told.below == tells_below(task)
    for place in range(4):
        assert told.describe(arrays, place, CLASSES) == task.describe(
            {**outputs, **mine}, place, CLASSES
        )


def test_of_several_only_the_masks_that_are_told_are_carried_back() -> None:
    best = Instances(most=6, candidates=40).decode(dense(1, masks=True))["found_scores"][0]
    cells = Instances(most=6, candidates=40, told_from=float(best[2:4].mean()))
    task = Several({"cells": cells, "kind": Pictures()})
    outputs = {f"cells_{name}": value for name, value in dense(1, masks=True).items()}
    made = {**outputs, **task.decode({**outputs, "recon": torch.zeros(1, 1, 4, 4)})}
    told = task.telling
    assert told is not None
    theirs = told.shown({name: value.numpy() for name, value in made.items()})
    for shown in (task.shown(made), theirs):
        assert set(shown) == set(made)
        assert len(shown["cells_found_masks"][0]) == len(shown["cells_found_boxes"][0]) == 3
        assert tuple(shown["cells_prototypes"].shape) == tuple(outputs["cells_prototypes"].shape)


def test_every_named_reading_is_compared() -> None:
    compared = {told_without_torch(task).kind for task, _ in CASES}
    assert compared == set(KINDS) - {"plain"}


def test_borders_are_those_of_opencv() -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        small = draw.random((12, 15)) < draw.uniform(0.2, 0.9)
        mask = np.kron(small, np.ones((draw.integers(1, 3),) * 2, bool))
        found, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        theirs = sorted(tuple(map(tuple, one.reshape(-1, 2).tolist())) for one in found)
        assert sorted(tuple(one) for one in outer_borders(mask)) == theirs
    assert polygons_of(np.zeros((4, 4), bool)) == []


def test_a_reading_of_somebodys_own_has_no_telling() -> None:
    class Louder(Classification):
        """Tells in another way."""

    assert told_without_torch(Louder()) is None
    assert Several({"kind": Louder()}).telling is None
    assert telling_of({"type": "apps.own:Louder"}, "here").kind == "plain"


@pytest.mark.parametrize(
    "node",
    [
        {"type": "classification", "kwargs": {"topp": 3}},
        {"type": "classification", "kwargs": {"top": "x"}},
        {"type": "classification", "kwargs": [1]},
        {"type": "several", "kwargs": {"readings": {"a": 3}}},
        {"type": "several", "kwargs": {}},
    ],
)
def test_a_damaged_reading_is_an_error_in_one_line(node: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="reading is damaged"):
        telling_of(node, "here")
