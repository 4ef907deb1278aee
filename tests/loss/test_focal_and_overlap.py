"""Losses that judge by difficulty or by overlap, against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision import ops

from cvtrainer.core.errors import UserError
from cvtrainer.loss import (
    BoxIoULoss,
    DiceLoss,
    DistributionFocalLoss,
    FocalLoss,
    QualityFocalLoss,
)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), requires_grad=True)


CLASSES = torch.tensor([0, 3, 1, 1, 2, 0])


def test_focal_by_sigmoid_is_the_reference() -> None:
    scores = drawn(6, 4)
    wanted = functional.one_hot(CLASSES, 4).float()
    reference = ops.sigmoid_focal_loss(scores, wanted, alpha=0.3, gamma=1.5, reduction="mean")
    torch.testing.assert_close(FocalLoss(alpha=0.3, gamma=1.5)(scores, CLASSES), reference)
    torch.testing.assert_close(FocalLoss(alpha=0.3, gamma=1.5)(scores, wanted), reference)


def test_focal_without_focus_is_cross_entropy() -> None:
    scores = drawn(6, 4, 5, 5)
    classes = torch.randint(0, 4, (6, 5, 5), generator=torch.Generator().manual_seed(2))
    classes[0, :2] = -100
    loss = FocalLoss(alpha=-1, gamma=0.0, activation="softmax")
    torch.testing.assert_close(loss(scores, classes), functional.cross_entropy(scores, classes))
    focused = FocalLoss(alpha=-1, gamma=2.0, activation="softmax")(scores, classes)
    assert focused < loss(scores, classes)


def test_what_is_ignored_has_no_gradient() -> None:
    for loss in (FocalLoss(), FocalLoss(activation="softmax"), DiceLoss()):
        scores = drawn(2, 3, 4, 4)
        classes = torch.zeros(2, 4, 4, dtype=torch.long)
        classes[1] = -100
        (gradient,) = torch.autograd.grad(loss(scores, classes), scores)
        assert gradient[0].abs().sum() > 0
        assert gradient[1].abs().sum() == 0


def test_quality_focal_is_the_formula() -> None:
    scores, quality = drawn(5, 3), torch.rand(5, 3, generator=torch.Generator().manual_seed(4))
    share = scores.sigmoid()
    entropy = -(quality * share.log() + (1 - quality) * (1 - share).log())
    expected = ((quality - share).abs() ** 2 * entropy).mean()
    torch.testing.assert_close(QualityFocalLoss()(scores, quality), expected)
    assert QualityFocalLoss()(torch.logit(quality), quality) < 1e-12


@pytest.mark.parametrize(
    "loss",
    [
        FocalLoss(gamma=0.5),
        FocalLoss(alpha=-1, gamma=0.5, activation="softmax"),
        QualityFocalLoss(beta=0.5),
    ],
    ids=["sigmoid", "softmax", "quality"],
)
def test_an_exponent_below_1_has_a_slope_where_all_is_right(loss: torch.nn.Module) -> None:
    scores = torch.tensor([[200.0, -200.0], [0.5, -0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(scores, torch.tensor([[1.0, 0.0], [1.0, 0.0]])), scores)
    assert gradient.isfinite().all()
    assert gradient[0].abs().sum() == 0
    assert gradient[1].abs().sum() > 0


def test_distribution_focal_shares_the_credit_of_two_steps() -> None:
    scores = drawn(2, 8)
    logs = scores.log_softmax(dim=-1)
    expected = -(0.75 * logs[0, 2] + 0.25 * logs[0, 3] + logs[1, 7]) / 2
    torch.testing.assert_close(DistributionFocalLoss()(scores, torch.tensor([2.25, 7.0])), expected)


@pytest.mark.parametrize("per_sample", [True, False])
def test_dice_is_the_formula(per_sample: bool) -> None:
    scores, classes = drawn(3, 4, 6, 6), torch.zeros(3, 6, 6, dtype=torch.long)
    classes[0, :3] = 1
    classes[1] = 2
    classes[2, 1, 1] = 3
    shares, wanted = scores.softmax(1), functional.one_hot(classes, 4).movedim(-1, 1).float()
    axes = (2, 3) if per_sample else (0, 2, 3)
    both, each = (shares * wanted).sum(axes), shares.sum(axes) + wanted.sum(axes)
    expected = 1 - ((2 * both + 1) / (each + 1)).mean()
    found = DiceLoss(per_sample=per_sample)
    torch.testing.assert_close(found(scores, classes), expected)
    torch.testing.assert_close(found(scores, wanted), expected)
    perfect = 50 * (wanted - 0.5)
    assert DiceLoss(smooth=0.0, per_sample=False)(perfect, classes) < 1e-6


def test_dice_of_one_region() -> None:
    scores = torch.tensor([[[[9.0, -9.0], [9.0, -9.0]]]])
    assert DiceLoss(smooth=0.0)(scores, torch.tensor([[[1, 0], [1, 0]]])) < 1e-3
    half = DiceLoss(smooth=0.0)(scores, torch.tensor([[[1, 0], [0, 0]]]))
    assert half == pytest.approx(1 / 3, abs=1e-3)


BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 3.0, 5.0], [0.0, 0.0, 1.0, 1.0]])
WANTED = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 4.0, 6.0], [5.0, 5.0, 7.0, 8.0]])


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("iou", lambda a, b: 1 - ops.box_iou(a, b).diagonal()),
        ("giou", lambda a, b: 1 - ops.generalized_box_iou(a, b).diagonal()),
        ("diou", lambda a, b: 1 - ops.distance_box_iou(a, b).diagonal()),
        ("ciou", lambda a, b: 1 - ops.complete_box_iou(a, b).diagonal()),
    ],
)
def test_boxes_are_judged_as_by_the_reference(kind: Any, reference: Any) -> None:
    found = BoxIoULoss(kind, reduction="none")(BOXES, WANTED)
    torch.testing.assert_close(found, reference(BOXES, WANTED), atol=1e-5, rtol=1e-4)
    assert BoxIoULoss(kind)(BOXES[:1], WANTED[:1]) < 1e-6
    none = BoxIoULoss(kind)(BOXES[:0].requires_grad_(), WANTED[:0])
    assert none.item() == 0.0
    none.backward()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FocalLoss(activation="relu"), "activation is 'relu'"),  # type: ignore[arg-type]
        (lambda: FocalLoss(reduction="max"), "reduction is 'max'"),
        (lambda: DiceLoss(smooth=-1), "smooth is -1"),
        (lambda: BoxIoULoss("uiou"), "kind is 'uiou'"),  # type: ignore[arg-type]
        (lambda: FocalLoss()(drawn(2, 3), torch.zeros(3)), r"target has the shape \[3\]"),
        (lambda: DiceLoss()(drawn(2, 3, 4, 4), torch.zeros(2, 5, 5)), r"shape \[2, 5, 5\]"),
        (lambda: BoxIoULoss()(BOXES, WANTED[:2]), r"\[3, 4\]"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(make: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make()
