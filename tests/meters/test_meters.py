"""Loss and accuracy against numbers worked out by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.meters import (
    AccuracyMeter,
    AUROCMeter,
    AveragePrecisionMeter,
    BalancedAccuracyMeter,
    BoundaryFMeter,
    CalibrationErrorMeter,
    ConfusionMeter,
    DiceMeter,
    F1Meter,
    LossMeter,
    MeanIoUMeter,
    MultiLabelMeter,
    ranking,
)
from cvtrainer.meters.labels import NO_CLASS, beyond_classes, class_of_rows, labels_of_rows

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


OF_CLASSES: dict[str, Callable[..., Any]] = {
    "accuracy": AccuracyMeter,
    "accuracy_top2": partial(AccuracyMeter, (1, 2)),
    "auroc": AUROCMeter,
    "average_precision": AveragePrecisionMeter,
    "balanced_accuracy": BalancedAccuracyMeter,
    "boundary_f": BoundaryFMeter,
    "calibration_error": CalibrationErrorMeter,
    "confusion": ConfusionMeter,
    "dice": DiceMeter,
    "f1": F1Meter,
    "mean_iou": MeanIoUMeter,
}
"""Every meter that compares scores with one class."""


def told(meter: Any, scores: Tensor, labels: Tensor) -> dict[str, float]:
    """As of pictures of 2 x 2 pixels of one class, for those that need pictures."""
    if isinstance(meter, BoundaryFMeter):
        scores = scores[:, :, None, None].repeat(1, 1, 2, 2)
        labels = labels[:, None, None].repeat(1, 2, 2)
        labels[:, 0, 0] = 0  # a border in each
    meter.update(scores, labels)
    return dict(meter.compute())


NO_LABELS = r"\d labels are none of the output's 3 classes, nor ignore_index \(-100\)"


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("beyond", [3, -1])
def test_labels_that_are_no_class_are_not_left_out_silently(name: str, beyond: int) -> None:
    make, scores = OF_CLASSES[name], torch.eye(3)[[0, 1, 2, 0]]
    labels = torch.tensor([0, 1, 2, beyond])
    with pytest.raises(UserError, match=NO_LABELS):
        told(make(), scores, labels)
    ignoring = told(make(ignore_index=beyond), scores, labels)
    assert ignoring == pytest.approx(told(make(), scores, torch.tensor([0, 1, 2, -100])))
    if name != "boundary_f":  # part of a picture may count
        assert ignoring == pytest.approx(told(make(), scores[:3], labels[:3]))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_labels_that_a_device_counted_are_told_with_the_numbers(name: str) -> None:
    meter, scores = OF_CLASSES[name](), torch.eye(3)[[0, 1, 2, 0]]
    told(meter, scores, torch.tensor([0, 1, 2, 0]))
    fine, counted = meter.state_dict(), copy.deepcopy(meter.state_dict())
    if "beyond" in counted:
        counted["beyond"] += 2
    elif "counts" in counted:
        counted["counts"][-1] = 2
    else:
        counted["wanted"][:2, 0] = ranking.BEYOND
    meter.merge([fine, counted])
    with pytest.raises(UserError, match=f"2{NO_LABELS[2:]}"):
        meter.compute()


ONE_OF_ROWS = [name for name in OF_CLASSES if name not in ("auroc", "average_precision")]


@pytest.mark.parametrize("name", [name for name in ONE_OF_ROWS if name != "boundary_f"])
def test_rows_of_several_labels_are_no_class(name: str) -> None:
    """The first of them is not the right one; what a mixer makes is one class, or shares of two."""
    meter, scores = OF_CLASSES[name](), torch.eye(3)[[0, 1, 2, 0]]
    wanted = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]])
    for kind in (torch.float32, torch.int64, torch.bool):
        with pytest.raises(UserError, match=r"1 rows of the target name several.*multi_label"):
            meter.update(scores, wanted.to(kind))
        with pytest.raises(UserError, match=r"1 rows .* name no class\. Fill .*-100") as told:
            meter.update(scores, wanted[[0, 1, 1, 3]].to(kind))
        assert "multi_label" not in str(told.value)
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.9, 0], [0, 0.3, 0.7], [1 / 3, 1 / 3, 1 / 3]])
    meter.update(scores, shares)
    again = OF_CLASSES[name]()
    again.update(scores, torch.tensor([0, 1, 2, 0]))
    assert meter.compute() == again.compute()
    scores_of_a_teacher = torch.tensor([[3.0, -1, 0], [0, 5, 1], [0.2, 0.3, 1], [2, 0, 1]])
    meter.update(scores, scores_of_a_teacher)  # have one highest value each
    again.update(scores, torch.tensor([0, 1, 2, 0]))
    assert meter.compute() == again.compute()
    meter.reset()
    meter.update(scores, wanted[[0, 1, 1, 0]].bool())
    assert meter.compute()


def test_on_a_device_rows_of_several_labels_count_as_no_class() -> None:
    nan = math.nan
    rows = torch.tensor(
        [[1.0, 0, 0], [0.5, 0.5, 0], [1, 0, 1], [0, 0, 0], [nan, 1, 0], [-100, -100, -100]]
    )
    assert class_of_rows("F1Meter", rows.to("meta"), -100).shape == (6,)  # nothing is read from it
    labels, several, nothing = labels_of_rows(rows, -100)
    assert labels.tolist() == [0, 0, NO_CLASS, NO_CLASS, NO_CLASS, -100]
    assert several.tolist() == [False, False, True, False, False, False]
    assert nothing.tolist() == [False, False, False, True, True, False]
    assert beyond_classes(labels, 3, labels != -100).tolist() == (several | nothing).tolist()


@pytest.mark.parametrize("name", [name for name in ONE_OF_ROWS if name != "boundary_f"])
@pytest.mark.parametrize("ignore_index", [-100, 255, 0])
def test_rows_wholly_of_what_is_ignored_are_left_out(name: str, ignore_index: int) -> None:
    """Also places of one-hot masks, and in narrow numbers."""
    scores, wanted = torch.eye(4)[[1, 2, 3, 1, 0]], torch.eye(4)[[1, 2, 1, 1, 0]]
    by_index = torch.tensor([1, 2, 1, 1, ignore_index])
    wanted[4] = ignore_index
    expected = OF_CLASSES[name](ignore_index=ignore_index)
    expected.update(scores, by_index)
    for kind in (torch.float32, torch.bfloat16, torch.int64, *NARROW.get(ignore_index, ())):
        rows, places = (OF_CLASSES[name](ignore_index=ignore_index) for _ in range(2))
        rows.update(scores, wanted.to(kind))
        places.update(scores.T.reshape(1, 4, 1, 5), wanted.to(kind).T.reshape(1, 4, 1, 5))
        assert rows.compute() == places.compute() == expected.compute() != {}
    wanted[1, 0] = math.nan
    with pytest.raises(UserError, match="1 rows of the target name no class"):
        OF_CLASSES[name](ignore_index=ignore_index).update(scores, wanted)


NARROW = {-100: (torch.int8,), 255: (torch.uint8,), 0: (torch.bool, torch.int8, torch.uint8)}


@pytest.mark.parametrize("name", OF_CLASSES)
def test_labels_in_few_bits_are_those_in_64(name: str) -> None:
    """A uint8 of 156 is not -100, and 300 classes are not 44."""
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn(40, 300, generator=generator)
    for kind, labels in {
        torch.uint8: torch.arange(140, 180),
        torch.int8: torch.arange(40) * 2,
        torch.bool: torch.arange(40) % 2,
    }.items():
        expected = told(OF_CLASSES[name](), scores, labels)
        assert told(OF_CLASSES[name](), scores, labels.to(kind)) == expected != {}
    no_class = torch.tensor([0, 1, 2, -1], dtype=torch.int8)
    with pytest.raises(UserError, match=r"ignore_index \(255\)"):  # which is no -1
        told(OF_CLASSES[name](ignore_index=255), torch.eye(3)[[0, 1, 2, 0]], no_class)


@pytest.mark.parametrize("make", [AUROCMeter, AveragePrecisionMeter, MultiLabelMeter])
def test_labels_of_any_number_in_few_bits(make: Any) -> None:
    wanted = torch.tensor([[1, 0], [156, 1], [0, 1]], dtype=torch.uint8)
    with pytest.raises(UserError, match=r"1 (labels|values) of the target are neither"):
        make().update(torch.zeros(3, 2), wanted)
    with pytest.raises(UserError, match=r"1 (labels|values) of the target are neither"):
        make().update(torch.zeros(1, 2), torch.tensor([[0, math.nan]]))


@pytest.mark.parametrize("make", [AUROCMeter, AveragePrecisionMeter])
def test_one_score_for_each_sample(make: Any) -> None:
    """Also of none, and of labels that are no 0 or 1: told by themselves and not by rows."""
    meter, scores = make(), torch.tensor([0.1, 0.7, 0.4])
    meter.update(torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert meter.compute() == {}
    meter.update(scores, torch.tensor([0.0, 0.9, 0.2]))
    meter.update(scores, torch.tensor([[0], [1], [0]], dtype=torch.uint8))
    assert list(meter.compute().values()) == [1.0]
    for wanted in (torch.tensor([1, 2, 2]), torch.tensor([[1], [2], [2]])):
        with pytest.raises(UserError, match="2 labels of the target are neither 0 nor 1"):
            make().update(scores, wanted)
    with pytest.raises(UserError, match="2 labels of the target are neither 0 nor 1"):
        make().update(torch.zeros(2, 3), torch.tensor([[0, 2, 3], [1, 1, 0]]))
    with pytest.raises(UserError, match="give class indices or one value per class"):
        make().update(scores, torch.zeros(4))


@pytest.mark.parametrize("name", ["accuracy", "accuracy_top2", "calibration_error", "f1", "dice"])
def test_states_from_before_labels_were_counted_are_read(name: str) -> None:
    scores, labels = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 1, 0])
    meter, old = OF_CLASSES[name](), OF_CLASSES[name]()
    meter.update(scores, labels)
    state = copy.deepcopy(meter.state_dict())
    if "counts" in state:
        state["counts"] = state["counts"][:-1]
    else:
        del state["beyond"]
    old.load_state_dict(state)
    assert old.compute() == meter.compute() != {}
    old.update(scores, labels)
    assert old.compute() == meter.compute()
    merged = OF_CLASSES[name]()
    merged.merge([state, meter.state_dict()])
    assert merged.compute() == meter.compute()


def test_targets_of_labels_that_are_not_from_0_to_1() -> None:
    scores, wanted = torch.zeros(2, 2), torch.tensor([[1, 0], [2, -100]])
    for make in (AUROCMeter, AveragePrecisionMeter):
        with pytest.raises(UserError, match="1 labels of the target are neither 0 nor 1"):
            make().update(scores, wanted)
    with pytest.raises(UserError, match=r"1 values of the target.*ignore_index \(-100\)"):
        MultiLabelMeter().update(scores, wanted)
    with pytest.raises(UserError, match="threshold is 1"):
        MultiLabelMeter(threshold=1.0)
    with pytest.raises(UserError, match="average is 'most'"):
        MultiLabelMeter(average="most")  # type: ignore[arg-type]


def test_labels_by_hand() -> None:
    meter = MultiLabelMeter(threshold=0.7)
    assert meter.compute() == {}
    wanted = torch.tensor([[1, 0], [1, 1], [0, 1], [-100, -100]])
    shares = torch.tensor([[0.8, 0.1], [0.6, 0.9], [0.2, 0.75], [0.9, 0.9]])
    meter.update(shares.logit(), wanted)
    assert meter.compute() == pytest.approx(
        {
            "f1": (2 / 3 + 1) / 2,
            "precision": 1.0,
            "recall": 0.75,
            "label_accuracy": 5 / 6,
            "exact_match": 2 / 3,
        }
    )
    single = MultiLabelMeter()
    single.update(torch.tensor([[2.0], [-2.0]]), torch.tensor([1.0, 1.0]))
    assert single.compute()["label_accuracy"] == 0.5
