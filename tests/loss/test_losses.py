"""The losses have torch's values for every form of target."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss import (
    BCEWithLogitsLoss,
    BoxIoULoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    QualityFocalLoss,
)


@pytest.fixture
def scores() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 4, generator=generator, requires_grad=True)


@pytest.fixture
def classes() -> torch.Tensor:
    return torch.tensor([0, 3, 1, 1, 2, 0])


@pytest.mark.seed("S0-22")
def test_the_value_and_the_step_are_those_of_torch(
    scores: torch.Tensor, classes: torch.Tensor
) -> None:
    ours = CrossEntropyLoss()(scores, classes)
    theirs = nn.CrossEntropyLoss()(scores, classes)
    assert torch.equal(ours, theirs)
    gradient = torch.autograd.grad(ours, scores)[0]
    assert torch.equal(gradient, torch.autograd.grad(theirs, scores)[0])


@pytest.mark.seed("S0-23")
@pytest.mark.parametrize(
    "arguments",
    [
        {"label_smoothing": 0.1},
        {"ignore_index": 1},
        {"reduction": "sum"},
        {"reduction": "none", "label_smoothing": 0.3},
    ],
)
def test_arguments_mean_what_they_mean_in_torch(
    scores: torch.Tensor, classes: torch.Tensor, arguments: dict[str, object]
) -> None:
    ours = CrossEntropyLoss(**arguments)(scores, classes)  # type: ignore[arg-type]
    theirs = nn.CrossEntropyLoss(**arguments)(scores, classes)  # type: ignore[arg-type]
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, nn.CrossEntropyLoss()(scores, classes))


def test_class_weights_are_a_plain_list(scores: torch.Tensor, classes: torch.Tensor) -> None:
    weights = [1.0, 2.0, 0.5, 3.0]
    loss = CrossEntropyLoss(weights)
    assert torch.equal(
        loss(scores, classes), nn.CrossEntropyLoss(torch.tensor(weights))(scores, classes)
    )
    assert not loss.state_dict()


@pytest.mark.seed("S0-43")
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_one_hot_targets_give_the_loss_of_indices(
    scores: torch.Tensor, classes: torch.Tensor, kind: torch.dtype
) -> None:
    one_hot = functional.one_hot(classes, 4).to(kind)
    loss = CrossEntropyLoss()
    torch.testing.assert_close(loss(scores, one_hot), loss(scores, classes))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32])
def test_indices_of_any_integer_type(
    scores: torch.Tensor, classes: torch.Tensor, kind: torch.dtype
) -> None:
    loss = CrossEntropyLoss()
    assert torch.equal(loss(scores, classes.to(kind)), loss(scores, classes))


def test_maps_of_classes() -> None:
    scores, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    assert torch.equal(CrossEntropyLoss()(scores, labels), nn.CrossEntropyLoss()(scores, labels))


def test_several_classes_at_once() -> None:
    scores, target = torch.randn(5, 3), torch.randint(0, 2, (5, 3))
    weights = [1.0, 2.0, 3.0]
    ours = BCEWithLogitsLoss(pos_weight=weights, reduction="sum")(scores, target)
    theirs = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights), reduction="sum")
    assert torch.equal(ours, theirs(scores, target.float()))
    with pytest.raises(UserError, match="one value per class"):
        BCEWithLogitsLoss()(scores, target[:, 0])


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(UserError, match="mean, sum, none"):
        CrossEntropyLoss(reduction="average")
    with pytest.raises(UserError, match="0 to 1"):
        CrossEntropyLoss(label_smoothing=10)
    with pytest.raises(UserError, match="mean, sum, none"):
        BCEWithLogitsLoss(reduction="average")


@pytest.mark.parametrize("arguments", [{}, {"weight": [1.0, 2.0, 3.0]}, {"label_smoothing": 0.1}])
def test_a_batch_of_which_all_is_ignored_costs_nothing(arguments: dict[str, Any]) -> None:
    scores = torch.randn(2, 3, 4, 4, requires_grad=True)
    nothing = torch.full((2, 4, 4), 255, dtype=torch.uint8)
    loss = CrossEntropyLoss(ignore_index=255, **arguments)(scores, nothing)
    loss.backward()
    assert float(loss) == 0
    assert scores.grad is not None
    assert float(scores.grad.abs().sum()) == 0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropyLoss(),
        BCEWithLogitsLoss(),
        DiceLoss(),
        FocalLoss(),
        FocalLoss(activation="softmax"),
        QualityFocalLoss(),
    ],
)
def test_half_precision_loses_nothing_but_the_digits_of_the_scores(
    loss: nn.Module, kind: torch.dtype
) -> None:
    """Sums over the places of a picture are beyond float16."""
    scores = torch.randn(1, 2, 512, 512, generator=torch.Generator().manual_seed(0)).to(kind)
    target: torch.Tensor = (scores[:, 0] > 0.1).long()
    if isinstance(loss, BCEWithLogitsLoss | QualityFocalLoss):
        target = functional.one_hot(target).movedim(-1, 1)
    torch.testing.assert_close(loss(scores, target), loss(scores.float(), target))


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_large_boxes_in_half_precision(kind: Any) -> None:
    boxes = torch.tensor([[0.0, 0.0, 600.0, 600.0]]).half()
    wanted = torch.tensor([[10.0, 10.0, 620.0, 590.0]]).half()
    loss = BoxIoULoss(kind)
    torch.testing.assert_close(loss(boxes, wanted), loss(boxes.float(), wanted.float()))


@pytest.mark.parametrize("loss", [BCEWithLogitsLoss(), FocalLoss(), DiceLoss()])
def test_one_channel_takes_zeros_and_ones_and_nothing_else(loss: nn.Module) -> None:
    scores = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    inside = torch.randint(0, 2, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(scores, inside), loss(scores, inside.unsqueeze(1)))
    with pytest.raises(UserError, match="the target holds 255; give numbers from 0 to 1"):
        loss(scores, inside * 255)
