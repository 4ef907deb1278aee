"""A detector's loss: who answers for what, what is right costs little, a few steps learn a box."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.loss import DetectionLoss
from cvtrainer.loss.assignment import assign
from cvtrainer.models import BaseModel
from cvtrainer.models.adapters import PAN
from cvtrainer.models.backbones import EdgeNet
from cvtrainer.models.heads import DetectionHead
from cvtrainer.ops.boxes import anchor_points, boxes_around, overlap, steps_to_edges
from cvtrainer.tasks import Detection

PLACES = anchor_points(torch.zeros(1, 1, 8, 8), 8)
BOXES = torch.tensor([[[4.0, 4.0, 30.0, 28.0], [34.0, 30.0, 60.0, 62.0], [0.0, 0.0, 0.0, 0.0]]])
LABELS = torch.tensor([[2, 0, 0]])
NONE = torch.tensor([[False, False, True]])


def perfect(confidence: float = 6.0) -> tuple[Tensor, Tensor]:
    """Scores and distances of a detector that knows."""
    scores, distances = torch.full((1, 64, 3), -9.0), torch.full((1, 64, 4, 8), -20.0)
    for box, label in zip(BOXES[0, :2], LABELS[0, :2], strict=True):
        steps = steps_to_edges(PLACES, box.expand(64, 4))
        for place in (steps > 0).all(dim=1).nonzero().flatten().tolist():
            scores[0, place, label] = confidence
            for edge, step in enumerate(steps[place].tolist()):
                low = int(step)
                distances[0, place, edge, low] = 20 + torch.log(torch.tensor(1 - (step - low)))
                distances[0, place, edge, low + 1] = 20 + torch.log(torch.tensor(step - low + 1e-9))
    return scores, distances.flatten(2)


def test_places_inside_of_an_object_answer_for_it() -> None:
    generator = torch.Generator().manual_seed(3)
    shares = torch.rand(1, 64, 3, generator=generator)
    made = boxes_around(PLACES, 1 + 2 * torch.rand(1, 64, 4, generator=generator))
    found = assign(shares, made, PLACES, BOXES, LABELS, ~NONE, count=5)
    assert 2 <= int(found.answers.sum()) <= 10
    for place in found.answers[0].nonzero().flatten().tolist():
        left, top, right, bottom = found.boxes[0, place].tolist()
        x, y, _ = PLACES[place].tolist()
        assert left <= x <= right
        assert top <= y <= bottom
        label = 2 if left == 4.0 else 0
        assert found.scores[0, place].nonzero().flatten().tolist() == [label]
    assert (found.scores[~found.answers] == 0).all()
    for number in range(2):
        mine = found.answers[0] & (found.boxes[0] == BOXES[0, number]).all(dim=1)
        best = overlap(BOXES[0, number : number + 1], made[0][mine]).max()
        torch.testing.assert_close(found.scores[0][mine].max(), best)


def test_what_is_right_costs_little() -> None:
    scores, distances = perfect()
    fields = {"anchors": PLACES, "boxes": BOXES, "box_labels": LABELS, "boxes_padding": NONE}
    good = DetectionLoss(count=64)(scores, distances, **fields)
    wrong = DetectionLoss(count=64)(scores.flip(2), distances, **fields)
    moved = DetectionLoss(count=64)(scores, distances.flip(1), **fields)
    assert float(good["box"]) < 0.01
    assert float(good["classes"]) < 0.01 * float(wrong["classes"])
    assert float(moved["loss"]) > float(good["loss"])
    total = good["classes"] + good["box"] + good["edges"]
    torch.testing.assert_close(good["loss"], total)


def test_the_same_is_read_from_it() -> None:
    scores, distances = perfect()
    found = Detection(most=5).decode({"scores": scores, "distances": distances, "anchors": PLACES})
    assert (found["found_scores"] > 0.1).sum() == 2
    order = found["found_boxes"][0, :2, 0].argsort()
    torch.testing.assert_close(found["found_boxes"][0, :2][order], BOXES[0, :2], atol=1e-3, rtol=0)
    assert found["found_classes"][0, :2][order].tolist() == [2, 0]
    told = Detection().describe(found, 0, ["cat", "dog", "owl"])["objects"]
    assert sorted(one["class"] for one in told) == ["cat", "owl"]


@pytest.mark.parametrize("boxes", [torch.zeros(2, 0, 4), torch.zeros(2, 3, 4)])
def test_pictures_without_objects_teach_to_be_silent(boxes: Tensor) -> None:
    scores = torch.zeros(2, 64, 3, requires_grad=True)
    distances = torch.zeros(2, 64, 32, requires_grad=True)
    labels = torch.zeros(boxes.shape[:2], dtype=torch.long)
    padding = torch.ones(boxes.shape[:2], dtype=torch.bool)
    parts = DetectionLoss()(scores, distances, PLACES, boxes, labels, padding)
    assert float(parts["box"].detach()) == float(parts["edges"].detach()) == 0.0
    parts["loss"].backward()
    assert scores.grad is not None
    assert (scores.grad > 0).all()
    assert distances.grad is not None


def test_a_label_beyond_the_classes_is_named() -> None:
    scores, distances = perfect()
    with pytest.raises(UserError, match="label 5 and the model has 3 classes"):
        DetectionLoss()(scores, distances, PLACES, BOXES, LABELS + 3, NONE)


@pytest.mark.long
def test_a_small_detector_learns_one_picture() -> None:
    torch.manual_seed(0)
    model = BaseModel(EdgeNet(0.5, taps=[8, 16, 32]), PAN(32), DetectionHead(3))
    picture = torch.zeros(1, 3, 64, 64)
    picture[0, 0, 4:28, 4:30] = 1.0
    picture[0, 1, 30:62, 34:60] = 1.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = DetectionLoss()
    for _ in range(60):
        optimizer.zero_grad()
        loss(**model(picture), boxes=BOXES, box_labels=LABELS, boxes_padding=NONE)[
            "loss"
        ].backward()
        optimizer.step()
    found = Detection().decode(model(picture))
    best = overlap(BOXES[0, :2], found["found_boxes"][0, :2])
    assert best.amax(dim=1).min() > 0.7
    assert sorted(found["found_classes"][0, :2].tolist()) == [0, 2]


def test_a_box_without_an_area_does_not_spoil_the_loss() -> None:
    flat = torch.tensor([[[10.0, 10.0, 10.0, 10.0], [20.0, 5.0, 40.0, 5.0], [9.0, 2.0, 9.0, 30.0]]])
    scores = torch.zeros(1, 64, 3, requires_grad=True)
    distances = torch.zeros(1, 64, 32, requires_grad=True)
    parts = DetectionLoss()(scores, distances, PLACES, flat, LABELS, torch.zeros(1, 3).bool())
    assert torch.isfinite(torch.stack(list(parts.values()))).all()
    parts["loss"].backward()
    assert all(bool(torch.isfinite(one.grad).all()) for one in (scores, distances))


@pytest.mark.parametrize(
    ("boxes", "labels", "text"),
    [
        (BOXES, LABELS - 1, "label -1"),
        (torch.tensor([[[32.0, 32.0, 10.0, 12.0]] * 3]), LABELS, r"ends before .* \(32, 32, 10"),
    ],
)
def test_negative_labels_and_other_forms_of_boxes_are_refused(
    boxes: Tensor, labels: Tensor, text: str
) -> None:
    scores, distances = torch.zeros(1, 64, 3), torch.zeros(1, 64, 32)
    with pytest.raises(UserError, match=text):
        DetectionLoss()(scores, distances, PLACES, boxes, labels, NONE)
