"""Loss and accuracy against numbers worked out by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.meters import (
    AccuracyMeter,
    BalancedAccuracyMeter,
    ConfusionMeter,
    DiceMeter,
    F1Meter,
    LossMeter,
    MeanIoUMeter,
)

SCORES = torch.tensor(
    [
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        [9.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    ]
)
"""From the highest score on: classes 0, 5, 4, 3, 2, 1."""


@pytest.mark.seed("S0-106")
def test_the_loss_is_a_mean_over_samples() -> None:
    meter = LossMeter()
    meter.update(torch.tensor([1.0, 2.0]), torch.tensor([8, 8]))
    meter.update(torch.tensor([10.0]), torch.tensor([4]))
    assert meter.compute() == {"loss": (8 * 1.0 + 8 * 2.0 + 4 * 10.0) / 20}
    meter.reset()
    assert meter.compute() == {}
    meter.update(torch.tensor([3.0]), torch.tensor([5]))
    assert meter.compute() == {"loss": 3.0}


def test_parts_of_the_loss_are_measured_too() -> None:
    meter = LossMeter()
    parts = {"box": torch.tensor([1.0, 3.0]), "loss_class": torch.tensor([0.5, 0.5])}
    meter.update(torch.tensor([2.0, 2.0]), torch.tensor([1, 3]), parts)
    assert meter.compute() == {"loss": 2.0, "loss_box": 2.5, "loss_class": 0.5}


def test_a_long_epoch_loses_no_digits() -> None:
    meter = LossMeter()
    for _ in range(200):
        meter.update(torch.full((1000,), 0.1), torch.ones(1000, dtype=torch.int64))
    assert meter.compute()["loss"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_a_loss_that_is_not_a_number_shows() -> None:
    meter = LossMeter()
    meter.update(torch.tensor([1.0, math.nan]), torch.tensor([1, 1]))
    assert math.isnan(meter.compute()["loss"])


@pytest.mark.seed("S0-107")
def test_topk_by_hand() -> None:
    meter = AccuracyMeter(topk=[1, 5])
    meter.update(SCORES, torch.tensor([0, 5, 1, 2]))
    assert meter.compute() == {"accuracy": 0.25, "accuracy_top5": 0.75}


@pytest.mark.seed("S0-107")
def test_k_above_the_number_of_classes() -> None:
    meter = AccuracyMeter(topk=[1, 5])
    scores = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [math.nan, 0.1, 0.2]])
    meter.update(scores, torch.tensor([1, 2, 0]))
    assert meter.compute() == {"accuracy": 1 / 3, "accuracy_top5": 2 / 3}


def test_uneven_batches_are_exact() -> None:
    meter = AccuracyMeter()
    meter.update(SCORES, torch.tensor([0, 0, 0, 0]))
    meter.update(SCORES[:3], torch.tensor([1, 1, 1]))
    assert meter.compute() == {"accuracy": 4 / 7}


@pytest.mark.seed("S0-43")
@pytest.mark.parametrize("kind", [torch.float32, torch.int64])
def test_one_hot_targets_give_the_accuracy_of_indices(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(50, 7, generator=generator)
    classes = torch.randint(0, 7, (50,), generator=generator)
    by_index, one_hot = AccuracyMeter((1, 3)), AccuracyMeter((1, 3))
    by_index.update(scores, classes)
    one_hot.update(scores, functional.one_hot(classes, 7).to(kind))
    assert by_index.compute() == one_hot.compute()
    best = scores.topk(3, dim=1).indices
    assert by_index.compute() == {
        "accuracy": float((best[:, 0] == classes).double().mean()),
        "accuracy_top3": float((best == classes[:, None]).any(dim=1).double().mean()),
    }


def test_equal_scores_and_nan_are_not_flattered() -> None:
    meter = AccuracyMeter()
    meter.update(torch.zeros(4, 4), torch.arange(4))
    assert meter.compute() == {"accuracy": 0.25}
    meter.reset()
    meter.update(torch.full((4, 4), math.nan), torch.arange(4))
    assert meter.compute() == {"accuracy": 0.0}


def test_maps_of_classes_and_ignored_places() -> None:
    scores = torch.zeros(1, 3, 2, 2)
    scores[:, 1] = 1.0
    target = torch.tensor([[[1, 1], [0, 255]]])
    meter = AccuracyMeter(ignore_index=255)
    meter.update(scores, target)
    assert meter.compute() == {"accuracy": 2 / 3}


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match="at least two classes"):
        AccuracyMeter().update(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(UserError, match="indices or one value per class"):
        AccuracyMeter().update(torch.zeros(3, 4), torch.zeros(2))
    with pytest.raises(UserError, match="from 1 on"):
        AccuracyMeter(topk=[0])


def feed_loss(meter: Any, start: int, stop: int) -> None:
    for step in range(start, stop):
        meter.update(torch.tensor([0.1 * step]), torch.tensor([step + 1]))


def feed_accuracy(meter: Any, start: int, stop: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores, classes = torch.randn(40, 5, generator=generator), torch.arange(40) % 5
    meter.update(scores[start:stop], classes[start:stop])


@pytest.mark.parametrize(("make", "feed"), [(LossMeter, feed_loss), (AccuracyMeter, feed_accuracy)])
def test_every_meter_keeps_the_contract(
    make: Callable[[], Any], feed: Callable[[Any, int, int], None]
) -> None:
    """Names as declared, state there and back, exact over ranks, empty after a reset."""
    whole = make()
    feed(whole, 0, 30)
    assert set(whole.compute()) <= set(make.PRODUCES)  # type: ignore[attr-defined]
    assert set(whole.HIGHER_IS_BETTER) <= set(whole.compute())

    first, second = make(), make()
    feed(first, 0, 13)
    feed(second, 13, 30)
    merged = make()
    merged.merge([first.state_dict(), make().state_dict(), second.state_dict()])
    assert merged.compute() == pytest.approx(whole.compute(), rel=1e-12)

    resumed = make()
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    feed(resumed, 13, 30)
    feed(first, 13, 30)
    assert resumed.compute() == first.compute()

    resumed.reset()
    assert resumed.compute() == {}
    assert first.compute() != {}
    empty = make()
    empty.merge([make().state_dict()])
    assert empty.compute() == {}


@pytest.mark.parametrize(
    "make", [ConfusionMeter, BalancedAccuracyMeter, F1Meter, MeanIoUMeter, DiceMeter]
)
def test_labels_that_are_no_class_are_not_left_out_silently(make: type[ConfusionMeter]) -> None:
    scores, labels = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 3])
    with pytest.raises(UserError, match=r"1 labels are none of the output's 3 classes"):
        make().update(scores, labels)
    on_device = make()
    on_device.merge([{"matrix": torch.eye(3), "beyond": torch.tensor(n)} for n in (0, 2)])
    with pytest.raises(UserError, match=r"2 labels are none"):
        on_device.compute()
    ignoring = make(ignore_index=3)
    ignoring.update(scores, labels)
    assert ignoring.compute()
