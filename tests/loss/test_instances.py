"""The loss of objects with masks: which places are asked, what counts, and that it is learnt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.loss import InstanceLoss
from cvtrainer.loss.assignment import Assigned
from cvtrainer.loss.instances import best_places
from cvtrainer.models import BaseModel
from cvtrainer.models.adapters import FPN
from cvtrainer.models.backbones import EdgeNet
from cvtrainer.models.heads import InstanceHead
from cvtrainer.tasks import Instances

SIZE = (45, 70)
"""No multiple of any stride."""


def small(classes: int = 2, seed: int = 0) -> BaseModel:
    torch.manual_seed(seed)
    return BaseModel(EdgeNet(0.5, taps=[4, 8, 16]), FPN(24), InstanceHead(classes, bins=8))


def objects() -> dict[str, Tensor]:
    """Two that overlap, of two classes; one; none at all."""
    boxes = torch.tensor(
        [[[4, 4, 28, 30], [16, 12, 50, 40]], [[30, 8, 66, 44], [0] * 4], [[0] * 4] * 2]
    )
    there = torch.tensor([[True, True], [True, False], [False, False]])
    masks = torch.zeros(3, 2, *SIZE, dtype=torch.uint8)
    for picture, place in there.nonzero().tolist():
        left, top, right, bottom = boxes[picture, place].tolist()
        y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in SIZE), indexing="ij")
        across, down = (right - left) / 2, (bottom - top) / 2
        masks[picture, place] = ((x - left) / across - 1) ** 2 + ((y - top) / down - 1) ** 2 <= 1
    return {
        "boxes": boxes.float(),
        "box_labels": torch.tensor([[0, 1], [1, -1], [-1, -1]]),
        "boxes_padding": ~there,
        "masks": masks,
    }


def test_overlapping_objects_of_two_classes_are_learnt() -> None:
    model, loss, wanted = small(), InstanceLoss(), objects()
    pictures = torch.randn(3, 3, *SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(80):
        parts = loss(**model(pictures), **wanted)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    found = Instances(most=20, candidates=60).decode(model(pictures))
    assert found["found_masks"].shape == (3, 20, *SIZE)
    for picture, place in (~wanted["boxes_padding"]).nonzero().tolist():
        right = wanted["masks"][picture, place].bool()
        masks = found["found_masks"][picture, :2]
        shares = (masks & right).sum((1, 2)) / (masks | right).sum((1, 2))
        assert shares.max() > 0.8
        best = int(shares.argmax())
        assert found["found_classes"][picture, best] == wanted["box_labels"][picture, place]
        assert found["found_scores"][picture, best] > 0.5
    assert found["found_scores"][2].max() < 0.3, "an empty picture teaches that nothing is there"


def test_the_total_is_the_sum_of_its_parts() -> None:
    parts = InstanceLoss()(**small()(torch.randn(3, 3, *SIZE)), **objects())
    assert set(parts) == {"loss", "classes", "box", "edges", "masks", "inside"}
    total = sum(value for name, value in parts.items() if name != "loss")
    torch.testing.assert_close(parts["loss"], total)


@pytest.mark.parametrize("most", [0, 2])
def test_pictures_without_objects_cost_only_what_is_seen_in_them(most: int) -> None:
    model = small()
    parts = InstanceLoss()(
        **model(torch.randn(2, 3, *SIZE)),
        boxes=torch.zeros(2, most, 4),
        box_labels=torch.full((2, most), -1),
        boxes_padding=torch.ones(2, most, dtype=torch.bool),
        masks=torch.zeros(2, most, *SIZE, dtype=torch.uint8),
    )
    assert parts["masks"].item() == parts["box"].item() == 0
    assert parts["classes"].item() > 0
    assert parts["inside"].item() > 0
    parts["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_only_places_inside_of_the_box_count_for_a_mask() -> None:
    model, loss, wanted = small(), InstanceLoss(), objects()
    outputs = {name: value.detach() for name, value in model(torch.randn(3, 3, *SIZE)).items()}
    before = loss(**outputs, **wanted)["masks"]
    outside, inside = outputs["prototypes"].clone(), outputs["prototypes"].clone()
    outside[0, :, :, 14:] += 3.0
    inside[0, :, 2:6, 2:6] += 3.0
    assert torch.equal(loss(**{**outputs, "prototypes": outside}, **wanted)["masks"], before)
    assert not torch.equal(loss(**{**outputs, "prototypes": inside}, **wanted)["masks"], before)


def test_the_best_places_of_each_object_are_asked() -> None:
    wanted = Assigned(
        answers=torch.tensor([[True, True, True, False], [False, True, True, True]]),
        boxes=torch.zeros(2, 4, 4),
        scores=torch.tensor([[0.2, 0.9, 0.4, 0.0], [0.0, 0.3, 0.8, 0.5]])[..., None],
        owners=torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]),
    )
    asked = torch.stack(best_places(wanted, 2, 2), dim=1).tolist()
    assert asked == [[0, 2, 0], [0, 1, 1], [0, 0, 1], [1, 2, 0], [1, 3, 0]]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"masks": torch.zeros(3, 1, *SIZE)}, "one mask per box"),
        ({"masks": torch.zeros(3, 2, 40, 70)}, "as large as the input"),
        ({"box_labels": torch.tensor([[0, 7], [1, -1], [-1, -1]])}, "label 7"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], text: str) -> None:
    outputs = small()(torch.randn(3, 3, *SIZE))
    with pytest.raises(UserError, match=text):
        InstanceLoss()(**outputs, **{**objects(), **change})


def test_wrong_arguments_are_said() -> None:
    with pytest.raises(UserError, match="places is 0"):
        InstanceLoss(places=0)
    with pytest.raises(UserError, match="give a detection_loss"):
        InstanceLoss(nn.MSELoss())
    with pytest.raises(UserError, match="prototypes is 0"):
        InstanceHead(2, prototypes=0)


def test_a_label_without_a_score_is_told_with_its_sample() -> None:
    batch = {**objects(), "x": torch.zeros(3, 3, *SIZE)}
    batch["box_labels"][1, 0] = 4
    meta = {"index": [0, 1, 2], "path": ["a.png", "b.png", "c.png"]}
    task = SupervisedTask(small(), InstanceLoss())
    with pytest.raises(UserError, match=r"field box_labels of b\.png.*: class number 4 is none"):
        task.compute({**batch, "meta": meta})
