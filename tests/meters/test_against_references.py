"""Every meter equals its reference library on random data, whole and merged over two ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.metric_names import produced_names
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.meters import (
    AccuracyMeter,
    AUROCMeter,
    AveragePrecisionMeter,
    BalancedAccuracyMeter,
    BoundaryFMeter,
    CalibrationErrorMeter,
    ClassAccuracyMeter,
    ConfusionMeter,
    DiceMeter,
    F1Meter,
    LossMeter,
    MeanIoUMeter,
    MultiLabelMeter,
    PCKMeter,
    PerplexityMeter,
    PSNRMeter,
    RegressionMeter,
    SSIMMeter,
    TorchmetricsMeter,
)
from cvtrainer.protocols import UpdateResult
from cvtrainer.trainer import Trainer

metrics = pytest.importorskip("torchmetrics")
learn = pytest.importorskip("sklearn.metrics")
statistics = pytest.importorskip("scipy.stats")
functional = metrics.functional
CLASSES = 5


def drawn(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classified() -> tuple[Tensor, Tensor]:
    """Scores on a coarse grid, so that some are equal; one class never occurs."""
    scores = (torch.randn(97, CLASSES, generator=drawn()) * 4).round() / 4
    return scores, torch.randint(0, CLASSES - 1, (97,), generator=drawn(2))


def distinct() -> tuple[Tensor, Tensor]:
    scores = torch.randn(97, CLASSES, generator=drawn())
    return scores, torch.randint(0, CLASSES - 1, (97,), generator=drawn(2))


def several() -> tuple[Tensor, Tensor]:
    scores, _ = classified()
    return scores, torch.rand(97, CLASSES, generator=drawn(3)) > 0.7


def labelled() -> tuple[Tensor, Tensor]:
    """No share is 0.5, where torchmetrics says no and our reading yes."""
    return distinct()[0], several()[1]


def numbers() -> tuple[Tensor, Tensor]:
    wanted = 1000 + torch.randn(83, 3, generator=drawn(4))
    return wanted + 0.3 * torch.randn(83, 3, generator=drawn(5)), wanted


def regions() -> tuple[Tensor, Tensor]:
    target = torch.zeros(9, 16, 16, dtype=torch.long)
    for number in range(9):
        target[number, number : number + 5, 2 : 4 + number] = 1 + number % 3
    scores = torch.randn(9, 4, 16, 16, generator=drawn(6))
    return scores.scatter_add(1, target.unsqueeze(1), torch.full((9, 1, 16, 16), 1.5)), target


def pictures() -> tuple[Tensor, Tensor]:
    wanted = torch.rand(7, 3, 20, 20, generator=drawn(7))
    return (wanted + 0.1 * torch.randn(7, 3, 20, 20, generator=drawn(8))).clamp(0, 1), wanted


def of_classes(name: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    function = getattr(functional.classification, f"multiclass_{name}")
    return lambda scores, target: function(scores, target, CLASSES, **options)


def without_the_absent(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """torchmetrics gives a class that never occurs a 0; it says nothing about the others."""
    function = getattr(functional.classification, f"multiclass_{name}")

    def reference(scores: Tensor, target: Tensor) -> Tensor:
        each = function(scores, target, CLASSES, average="none")
        return each[:-1].mean()

    return reference


def of_labels(name: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    function = getattr(functional.classification, f"multilabel_{name}")
    return lambda scores, target: function(scores, target.long(), CLASSES, **options)


def labels_of(average: str) -> list[tuple[str, Any, Any, Any]]:
    """The same name in torchmetrics, and a threshold that is not its own."""
    names = {"f1": "f1_score", "precision": "precision", "recall": "recall"}
    return [
        (
            name,
            MultiLabelMeter(threshold, average),  # type: ignore[arg-type]
            labelled,
            of_labels(reference, threshold=threshold, average=average),
        )
        for name, reference in {**names, "label_accuracy": "accuracy"}.items()
        for threshold in (0.5, 0.3)
    ]


CASES: list[tuple[str, Any, Any, Any]] = [
    ("accuracy", AccuracyMeter(), distinct, lambda s, t: learn.accuracy_score(t, s.argmax(1))),
    ("accuracy", AccuracyMeter(), distinct, of_classes("accuracy", average="micro")),
    (
        "accuracy_top3",
        AccuracyMeter([1, 3]),
        distinct,
        lambda s, t: learn.top_k_accuracy_score(t, s, k=3, labels=range(CLASSES)),
    ),
    (
        "accuracy_top2",
        AccuracyMeter([2]),
        distinct,
        of_classes("accuracy", top_k=2, average="micro"),
    ),
    *labels_of("macro"),
    *labels_of("micro"),
    ("exact_match", MultiLabelMeter(), labelled, of_labels("exact_match")),
    ("balanced_accuracy", BalancedAccuracyMeter(), distinct, without_the_absent("accuracy")),
    ("f1", F1Meter(), distinct, of_classes("f1_score", average="macro")),
    ("f1", F1Meter("micro"), distinct, of_classes("f1_score", average="micro")),
    ("f1", F1Meter("weighted"), distinct, of_classes("f1_score", average="weighted")),
    ("precision", F1Meter(), distinct, of_classes("precision", average="macro")),
    ("recall", F1Meter(), distinct, of_classes("recall", average="macro")),
    ("auroc", AUROCMeter(), distinct, without_the_absent("auroc")),
    (
        "average_precision",
        AveragePrecisionMeter(),
        distinct,
        without_the_absent("average_precision"),
    ),
    (
        "average_precision",
        AveragePrecisionMeter(),
        several,
        lambda s, t: functional.classification.multilabel_average_precision(s, t.long(), CLASSES),
    ),
    (
        "auroc",
        AUROCMeter(),
        several,
        lambda s, t: functional.classification.multilabel_auroc(s, t.long(), CLASSES),
    ),
    ("calibration_error", CalibrationErrorMeter(), distinct, of_classes("calibration_error")),
    ("mae", RegressionMeter(), numbers, functional.mean_absolute_error),
    ("rmse", RegressionMeter(), numbers, lambda a, b: functional.mean_squared_error(a, b).sqrt()),
    ("r2", RegressionMeter(), numbers, lambda a, b: functional.r2_score(a.double(), b.double())),
    (
        "miou",
        MeanIoUMeter(),
        regions,
        lambda s, t: functional.classification.multiclass_jaccard_index(s, t, 4),
    ),
    ("dice", DiceMeter(background=True), regions, lambda s, t: _f1_of_places(s, t, 0)),
    ("dice", DiceMeter(), regions, lambda s, t: _f1_of_places(s, t, 1)),
    (
        "psnr",
        PSNRMeter(),
        pictures,
        lambda a, b: functional.peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3)),
    ),
    (
        "ssim",
        SSIMMeter(),
        pictures,
        lambda a, b: _inside(functional.structural_similarity_index_measure, a, b),
    ),
]


def _inside(similarity: Any, made: Tensor, wanted: Tensor) -> Tensor:
    """Without the border, where torchmetrics' windows see a mirrored picture."""
    _, whole = similarity(made, wanted, data_range=1.0, return_full_image=True)
    return whole[..., 5:-5, 5:-5].mean()


def _f1_of_places(scores: Tensor, target: Tensor, first: int) -> Tensor:
    each = functional.classification.multiclass_f1_score(scores, target, 4, average="none")
    return each[first:].mean()


def ids(case: Any) -> str:
    return f"{type(case[1]).__name__}-{case[0]}-{case[2].__name__}"


@pytest.mark.seed("S3-57", "S4-78")
@pytest.mark.parametrize("case", CASES, ids=ids)
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_value_is_that_of_the_reference(case: Any, ranks: int) -> None:
    name, fresh, data, reference = case
    output, target = data()
    expected = float(reference(output, target))
    parts = [copy.deepcopy(fresh) for _ in range(ranks)]
    for place, rows in enumerate(torch.arange(len(output)).split(8)):
        parts[place % ranks].update(output[rows], target[rows])
    merged = copy.deepcopy(fresh)
    merged.merge([part.state_dict() for part in parts])
    assert merged.compute()[name] == pytest.approx(expected, abs=1e-5, rel=1e-5)
    again = copy.deepcopy(fresh)
    again.load_state_dict(merged.state_dict())
    assert again.compute() == merged.compute()
    assert name in (produced_names(fresh.PRODUCES, vars(fresh)) or [])
    assert name.partition("_top")[0] in fresh.HIGHER_IS_BETTER
    merged.reset()
    assert merged.compute() == {}


@pytest.mark.seed("S4-64")
def test_loss_and_accuracy_of_a_validation_are_those_of_sklearn() -> None:
    """97 samples in batches of 8: the last one is a single sample, and counts as one."""
    scores, target = distinct()
    batches = [
        {"x": scores[rows], "target": {"class_id": target[rows]}}
        for rows in torch.arange(97).split(8)
    ]
    model = torch.nn.Linear(CLASSES, CLASSES)
    trainer = Trainer(
        model,
        torch.nn.CrossEntropyLoss(),
        torch.optim.SGD(model.parameters(), lr=0.1),
        {"train": batches, "val": batches},
        meters=[LossMeter(), AccuracyMeter()],
    )
    found = trainer.evaluate()
    with torch.no_grad():
        shares = model(scores).double().softmax(dim=1).numpy()
    expected = {
        "val/loss": learn.log_loss(target, shares, labels=range(CLASSES)),
        "val/accuracy": learn.accuracy_score(target, shares.argmax(axis=1)),
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_matrix_is_that_of_sklearn() -> None:
    scores, target = distinct()
    meter, each = ConfusionMeter(), ClassAccuracyMeter([*"abcde"])
    for rows in torch.arange(97).split(8):
        meter.update(scores[rows], target[rows])
        each.update(scores[rows], target[rows])
    assert meter.matrix is not None
    chosen = scores.argmax(dim=1)
    expected = learn.confusion_matrix(target, chosen, labels=range(CLASSES))
    assert meter.matrix.tolist() == expected.tolist()
    found = learn.recall_score(target, chosen, labels=range(CLASSES - 1), average=None)
    assert [*each.compute().values()] == pytest.approx(found.tolist())


@pytest.mark.parametrize("ranks", [1, 2])
def test_perplexity_is_that_of_the_entropy_of_scipy(ranks: int) -> None:
    codes = torch.randint(0, 9, (64,), generator=drawn(9)) ** 2 % 16
    parts = [PerplexityMeter(codes=16) for _ in range(ranks)]
    for place, rows in enumerate(codes.split(8)):
        parts[place % ranks].update(rows)
    merged = PerplexityMeter(codes=16)
    merged.merge([part.state_dict() for part in parts])
    expected = np.exp(statistics.entropy(torch.bincount(codes, minlength=16).numpy()))
    assert merged.compute()["perplexity"] == pytest.approx(expected)


@pytest.mark.parametrize("meter", [AUROCMeter, AveragePrecisionMeter])
@pytest.mark.parametrize("data", [distinct, several])
def test_ranking_leaves_out_what_is_ignored(meter: Any, data: Any) -> None:
    scores, target = data()
    target = target.long()
    left_out = torch.rand(target.shape, generator=drawn(11)) < 0.3
    fresh = meter()
    fresh.update(scores, target.masked_fill(left_out, -100))
    name = fresh.PRODUCES[0]
    kind = "multiclass" if data is distinct else "multilabel"
    function = getattr(functional.classification, f"{kind}_{name}")
    marked = target.masked_fill(left_out, -1)
    if data is distinct:
        each = function(scores, marked, CLASSES, average="none", ignore_index=-1)[:-1]
        expected = float(each.mean())
    else:
        expected = float(function(scores, marked, CLASSES, ignore_index=-1))
    assert fresh.compute() == {name: pytest.approx(expected, abs=1e-5)}
    places = meter(ignore_index=255)  # the same as places of one series
    if data is distinct:
        marked = target.masked_fill(left_out, 255)
        places.update(scores.T.unsqueeze(0), marked.unsqueeze(0))
    else:
        places.update(scores.T.unsqueeze(0), target.masked_fill(left_out, 255).T.unsqueeze(0))
    assert places.compute() == pytest.approx(fresh.compute())
    nothing = meter()
    nothing.update(scores, torch.full_like(target, -100))
    assert nothing.compute() == {}


class Told(metrics.Metric):  # type: ignore[misc]
    """Sums whatever it is given."""

    full_state_update = False
    higher_is_better = True
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", torch.zeros(()), "sum")

    def compute(self) -> Tensor:
        return self.seen


class OfMany(Told):
    def update(self, *preds: Tensor, **more: Tensor) -> None:
        self.seen += sum(one.sum() for one in (*preds, *more.values()))


class OfNested(Told):
    def update(self, preds: Any, weight: float = 1.0, *, target: Any) -> None:
        self.seen = self.seen + weight * (preds[0]["x"].sum() + target.sum())


def test_a_metric_may_take_any_number_of_values() -> None:
    meter, one = TorchmetricsMeter(OfMany(), "sum"), torch.ones(2)
    meter.update(one, one)
    meter.update(one, weight=one)
    meter.update(output=one)  # as the engine calls it
    assert meter.compute() == {"sum": 10.0}
    keyword = TorchmetricsMeter(OfNested(), "sum")
    keyword.update([{"x": one}], target=one)
    keyword.update(target=one, output=[{"x": one}], weight=2.0)
    assert keyword.compute() == {"sum": 12.0}


def test_a_metric_follows_tensors_within_lists_and_keeps_its_device_after_a_merge() -> None:
    meter, there = TorchmetricsMeter(OfNested(), "sum"), torch.ones(2, device="meta")
    meter.update([{"x": there}], target=there)
    assert meter.metric.device == meter.metric.seen.device == there.device
    other = TorchmetricsMeter(OfNested(), "sum")
    other.update([{"x": torch.ones(2)}], target=torch.ones(2))
    meter.merge([other.state_dict(), other.state_dict()])
    assert meter.metric.device == meter.metric.seen.device == there.device
    curve = TorchmetricsMeter(metrics.CatMetric(), "values")
    curve.update(torch.ones(2))
    saved = curve.state_dict()
    curve.metric.to("meta")
    curve.load_state_dict(saved)
    assert [one.device for one in curve.metric.value] == [there.device]


PLACED = [
    ("PearsonCorrCoef", "r"),
    ("ConcordanceCorrCoef", "r"),
    ("SpearmanCorrCoef", "r"),
    ("ExplainedVariance", "share"),
]


@pytest.mark.parametrize(("kind", "name"), PLACED)
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_states_that_no_reduction_is_named_for_reach_the_metric_stacked(
    kind: str, name: str, ranks: int
) -> None:
    made, wanted = (one[:, 0] - 1000 for one in numbers())
    parts = [TorchmetricsMeter(getattr(metrics, kind)(), name) for _ in range(ranks)]
    for place, rows in enumerate(torch.arange(83).split(8)):
        parts[place % ranks].update(output=made[rows], target=wanted[rows])
    merged = TorchmetricsMeter(getattr(metrics, kind)(), name)
    merged.merge([part.state_dict() for part in parts])
    expected = {name: pytest.approx(float(getattr(metrics, kind)()(made, wanted)), abs=1e-4)}
    assert merged.compute() == expected
    again = TorchmetricsMeter(getattr(metrics, kind)(), name)
    again.merge([merged.state_dict(), parts[0].state_dict()])
    assert again.compute() != {}
    again.load_state_dict(merged.state_dict())
    assert again.compute() == expected


def test_what_was_put_together_goes_on() -> None:
    """As after a resume with fewer processes."""
    made, wanted = (one[:, 0] - 1000 for one in numbers())
    first, second, meter = (TorchmetricsMeter(metrics.PearsonCorrCoef(), "r") for _ in range(3))
    first.update(made[:20], wanted[:20])
    second.update(made[20:50], wanted[20:50])
    meter.merge([first.state_dict(), second.state_dict()])
    meter.update(made[50:], wanted[50:])
    expected = float(metrics.PearsonCorrCoef()(made, wanted))
    assert meter.compute() == {"r": pytest.approx(expected, abs=1e-5)}
    assert meter.compute() == {"r": pytest.approx(expected, abs=1e-5)}
    meter.reset()
    assert meter.compute() == {}


def test_a_metric_takes_what_its_own_update_takes() -> None:
    entry = MeterEntry(
        "own",
        TorchmetricsMeter(metrics.MeanMetric(), "mean_loss"),
        {"value": "loss", "weight": "batch_size"},
    )
    recorder = Recorder([entry], "train")
    for loss, size in zip((1.0, 4.0), (3, 1), strict=True):
        batch = {"x": torch.zeros(size, 2), "target": {"class_id": torch.zeros(size).long()}}
        recorder.record(batch, UpdateResult(torch.tensor(loss), {}, {"output": batch["x"]}))
    assert recorder.compute() == {"mean_loss": 1.75}
    divergence = TorchmetricsMeter(metrics.KLDivergence(), "apart")
    divergence.update(p=torch.tensor([[0.5, 0.5]]), q=torch.tensor([[0.25, 0.75]]))
    assert divergence.compute()["apart"] > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.MetricCollection([metrics.MeanSquaredError()]),
        lambda: metrics.MeanSquaredError() + metrics.MeanAbsoluteError(),
        lambda: metrics.MinMaxMetric(metrics.MeanSquaredError()),
        lambda: metrics.MetricCollection([]),
    ],
)
def test_what_holds_other_metrics_is_refused(make: Any) -> None:
    """Their states are not its own: they would not be saved."""
    with pytest.raises(UserError, match=r"holds other metrics\. Name each of them as a meter"):
        TorchmetricsMeter(make(), "x")


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_metric_of_torchmetrics_is_a_meter(ranks: int) -> None:
    scores, target = distinct()
    for make, name in (
        (lambda: metrics.CohenKappa(task="multiclass", num_classes=CLASSES), "kappa"),
        (lambda: metrics.AUROC(task="multiclass", num_classes=CLASSES), "auroc"),
    ):
        parts = [TorchmetricsMeter(make(), name) for _ in range(ranks)]
        for place, rows in enumerate(torch.arange(97).split(8)):
            parts[place % ranks].update(scores[rows], target[rows])
        merged = TorchmetricsMeter(make(), name)
        assert merged.compute() == {}
        merged.merge([part.state_dict() for part in parts])
        assert merged.compute() == {name: pytest.approx(float(make()(scores, target)), abs=1e-6)}
        assert merged.HIGHER_IS_BETTER[name] is True
    with pytest.raises(UserError, match="Linear is no metric"):
        TorchmetricsMeter(torch.nn.Linear(1, 1), "x")


def test_the_matrix_and_what_is_read_from_it() -> None:
    scores = torch.eye(3)[torch.tensor([0, 0, 1, 2, 2, 1])]
    target = torch.tensor([0, 1, 1, 2, 0, -100])
    meter = ConfusionMeter()
    meter.update(scores, target)
    assert meter.matrix is not None
    assert meter.matrix.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 1]]
    assert meter.compute()["confusion_1_0"] == 1.0
    each = ClassAccuracyMeter(["cat", "dog", "owl"])
    each.update(scores, target)
    assert each.compute() == {
        "accuracy_of_cat": 0.5,
        "accuracy_of_dog": 0.5,
        "accuracy_of_owl": 1.0,
    }
    short = ClassAccuracyMeter(["cat"])
    short.update(scores, target)
    with pytest.raises(UserError, match="classes names 1, the output has 3"):
        short.compute()


def test_borders_are_compared_within_a_tolerance() -> None:
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[0, 5:12, 5:12] = 1
    shifted = torch.zeros(1, 20, 20, dtype=torch.long)
    shifted[0, 6:13, 6:13] = 1
    scores = torch.nn.functional.one_hot(shifted, 2).movedim(-1, 1).float()
    values = []
    for tolerance in (0, 1, 2):
        meter = BoundaryFMeter(tolerance)
        meter.update(scores, target)
        values.append(meter.compute()["boundary_f"])
    assert values[0] < 0.2
    assert values[1] == values[2] == 1.0
    single = BoundaryFMeter(1)
    single.update(scores[:, 1:] - 0.5, target)
    assert single.compute()["boundary_f"] == 1.0
    two = BoundaryFMeter(0)
    two.merge([single.state_dict(), single.state_dict()])
    assert two.compute() == single.compute()


def test_keypoints_count_within_a_share_of_their_extent() -> None:
    wanted = torch.tensor([[[0.0, 0.0, 1], [10.0, 0.0, 1], [50.0, 50.0, 0]]])
    made = wanted[..., :2] + torch.tensor([[[0.9, 0.0], [0.0, 1.1], [30.0, 0.0]]])
    meter = PCKMeter(0.1)
    meter.update(made, wanted)
    assert meter.compute() == {"pck": 0.5}
    fixed = PCKMeter(0.1, length=20.0)
    fixed.update(made, wanted)
    assert fixed.compute() == {"pck": 1.0}
    with pytest.raises(UserError, match="give \\[N, K, 2\\]"):
        meter.update(made[0], wanted)


@pytest.mark.seed("S4-71", "S4-75")
def test_perplexity_is_the_number_of_codes_in_even_use() -> None:
    meter = PerplexityMeter(codes=8)
    assert meter.compute() == {}
    meter.update(torch.tensor([[0, 1], [2, 3]]))
    assert meter.compute()["perplexity"] == pytest.approx(4.0)
    meter.update(torch.tensor([0, 0, 0, 0]))
    assert 1.0 < meter.compute()["perplexity"] < 4.0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: F1Meter("most"), "average is 'most'"),  # type: ignore[arg-type]
        (lambda: CalibrationErrorMeter(0), "bins is 0"),
        (lambda: BoundaryFMeter(-1), "tolerance is -1"),
        (lambda: PCKMeter(0.0), "threshold is 0.0"),
        (lambda: RegressionMeter().update(torch.ones(3), torch.ones(4)), "must be alike"),
        (lambda: AUROCMeter().update(torch.ones(3, 2), torch.ones(4)), r"shape \[4\]"),
        (
            lambda: MeanIoUMeter().update(torch.ones(1, 2, 3, 3), torch.ones(1, 4, 4)),
            r"\[1, 4, 4\]",
        ),
    ],
)
def test_what_cannot_be_is_told(make: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make()


def test_tables_of_torchmetrics_have_their_places_in_their_names() -> None:
    scores, target = distinct()
    table = metrics.ConfusionMatrix(task="multiclass", num_classes=CLASSES)
    meter = TorchmetricsMeter(copy.deepcopy(table), "taken")
    meter.update(scores, target)
    told = meter.compute()
    assert len(told) == CLASSES**2
    assert told["taken_2_1"] == float(table(scores, target)[2, 1])
    curve = TorchmetricsMeter(metrics.ROC(task="multiclass", num_classes=CLASSES), "curve")
    curve.update(scores, target)
    with pytest.raises(UserError, match="gives a tuple, not numbers"):
        curve.compute()


def test_points_without_an_extent_do_not_count() -> None:
    wanted = torch.tensor([[[5.0, 5.0, 1], [9.0, 9.0, 0]], [[0.0, 0.0, 1], [10.0, 0.0, 1]]])
    meter = PCKMeter(0.1)
    meter.update(wanted[..., :2] + 0.1, wanted)
    assert meter.compute() == {"pck": 1.0}
    with pytest.raises(UserError, match=r"one point alone has no extent\. Give a length"):
        PCKMeter().update(wanted[:, :1], wanted[:, :1])
    single = PCKMeter(length=20.0)
    single.update(wanted[:, :1] + 0.1, wanted[:, :1])
    assert single.compute() == {"pck": 1.0}


def test_codes_beyond_the_book_are_told() -> None:
    with pytest.raises(UserError, match="codes is 4, and code 9 is in use"):
        PerplexityMeter(codes=4).update(torch.tensor([1, 9]))


@pytest.mark.parametrize(
    ("meter", "name", "higher"),
    [
        (ClassAccuracyMeter(["cat", "dog"]), "accuracy_of_cat", True),
        (AccuracyMeter([5]), "accuracy_top5", True),
        (
            TorchmetricsMeter(metrics.Recall(task="multiclass", num_classes=2), "recall"),
            "recall_1",
            True,
        ),
        (RegressionMeter(), "mae", False),
    ],
)
def test_which_way_each_of_several_values_is_better(meter: Any, name: str, higher: bool) -> None:
    recorder = Recorder([MeterEntry("loss", LossMeter()), MeterEntry("own", meter)], "val")
    assert recorder.higher_is_better(name) is higher
    assert recorder.higher_is_better("loss_of_cat") is False


def test_an_ignored_number_may_be_one_of_the_classes() -> None:
    """As where the background has the number 0 and is not to count."""
    scores, target = distinct()
    task = {"task": "multiclass", "num_classes": CLASSES, "ignore_index": 0}
    cases = (
        (AccuracyMeter(ignore_index=0), "accuracy", functional.accuracy(scores, target, **task)),
        (
            AccuracyMeter([1, 2], ignore_index=0),
            "accuracy_top2",
            functional.accuracy(scores, target, top_k=2, average="micro", **task),
        ),
        (MeanIoUMeter(ignore_index=0), "miou", functional.jaccard_index(scores, target, **task)),
        (
            CalibrationErrorMeter(ignore_index=0),
            "calibration_error",
            functional.calibration_error(scores, target, **task),
        ),
        (
            F1Meter(ignore_index=0),
            "f1",
            functional.f1_score(scores, target, average="macro", **task),
        ),
    )
    for meter, name, expected in cases:
        meter.update(scores, target)
        assert meter.compute()[name] == pytest.approx(float(expected), abs=1e-6), name
