"""Fields reach models, losses and meters by name: found out with the first batch, then reused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.engine.criteria import Criteria, Criterion
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment
from cvtrainer.loss import CrossEntropyLoss
from cvtrainer.meters import AccuracyMeter, LossMeter, RegressionMeter
from tests.toy import CLASSES, FEATURES, ToyModel, batches, toy_trainer

Form = Callable[[Tensor, Tensor], Any]

FORMS: dict[str, Form] = {
    "mapping": lambda kind, angle: {"kind": kind, "angle": angle},
    "tuple": lambda kind, angle: (kind, angle),
    "list": lambda kind, angle: [kind, angle],
    "tensor": lambda kind, angle: kind,
}


class Giving(nn.Module):
    """Returns its results in one of the forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.kind = nn.Linear(FEATURES, CLASSES)
        self.angle = nn.Linear(FEATURES, 1)

    def forward(self, features: Tensor) -> Any:
        return FORMS[self.form](self.kind(features), self.angle(features)[:, 0])


def task(form: str, **words: Any) -> SupervisedTask:
    return SupervisedTask(Giving(form), CrossEntropyLoss(), **words)


@pytest.mark.seed("S3-33", "S3-34", "S3-35")
def test_every_form_of_return_becomes_named_outputs() -> None:
    """A tuple or list takes the names given, or `output`, `output_1`; a mapping has its own."""
    batch = batches(1)[0]
    named = {"mapping": {}, "tuple": {"outputs": ["kind", "angle"]}}
    named["list"] = named["tuple"]
    bind = {"bind_criterion": {"output": "kind"}}
    for form, words in named.items():
        assert list(task(form, **words, **bind).compute(batch).outputs) == ["kind", "angle"]
    assert list(task("tuple").compute(batch).outputs) == ["output", "output_1"]
    assert list(task("tensor").compute(batch).outputs) == ["output"]
    assert list(task("tensor", outputs=["kind"], **bind).compute(batch).outputs) == ["kind"]
    for form in ("tuple", "list"):
        with pytest.raises(UserError, match="returns 2 values, outputs names 3: a, b, c"):
            task(form, outputs=["a", "b", "c"]).compute(batch)


@pytest.mark.seed("S3-32", "S3-36")
def test_binds_choose_among_fields_and_what_is_missing_is_told_with_what_there_is() -> None:
    batch = batches(1)[0]
    batch["other"] = batch["x"] * 2
    chosen = task("tensor", bind_model={"features": "other"})
    expected = task("tensor", bind_model={"features": "x"})
    expected.networks["model"].load_state_dict(chosen.networks["model"].state_dict())
    doubled = {**batch, "x": batch["other"]}
    assert torch.equal(
        chosen.compute(batch).outputs["output"], expected.compute(doubled).outputs["output"]
    )
    with pytest.raises(UserError, match=r"'picture'; there is .*class_id.*x.*other"):
        task("tensor", bind_model={"features": "picture"}).compute(batch)
    with pytest.raises(UserError, match=r"'angle'; there is .*class_id.*output"):
        task("tensor", bind_criterion={"output": "angle"}).compute(batch)
    several = Criteria({"kind": Criterion(CrossEntropyLoss(), bind={"target": "label"})})
    with pytest.raises(UserError, match=r"criterion\.kind: .*'label'; there is .*class_id"):
        SupervisedTask(Giving("tensor"), several).compute(batch)


@pytest.mark.seed("S3-31", "S3-32", "S3-33", "S3-36")
def test_other_words_for_binds_and_outputs_say_the_same() -> None:
    """`mapping` and `output_keys` beside `type`, and an explicit `bind` is not overwritten."""

    def config(bind: str, outputs: str) -> dict[str, Any]:
        return {
            "model": {
                "type": "torch.nn:Linear",
                "in_features": FEATURES,
                "out_features": CLASSES,
                bind: {"input": "x"},
                outputs: ["logits"],
            },
            "criterion": {
                "type": "CrossEntropyLoss",
                bind: {"output": "logits", "target": "class_id"},
            },
            "meters": [{"type": "accuracy", bind: {"output": "logits"}, "phases": ["val"]}],
            "optimizer": {"type": "SGD", "lr": 0.1},
            "dataloader": {"train": {"dataset": {"type": "digits", "kwargs": {"split": "train"}}}},
        }

    ours, theirs = (
        compile_config(config(*words)).resolved["stages"][0]
        for words in (("bind", "outputs"), ("mapping", "output_keys"))
    )
    assert ours == theirs
    assert theirs["model"]["bind"] == {"input": "x"}
    built = Experiment().task(theirs)
    result = built.compute(batches(1)[0])
    assert list(result.outputs) == ["logits"]
    assert result.loss.ndim == 0


@pytest.mark.seed("S3-37")
def test_class_weights_of_a_config_become_a_tensor() -> None:
    node = {"type": "CrossEntropyLoss", "kwargs": {"weight": [1, 2, 4]}}
    stage = {
        "model": {"type": "torch.nn:Linear", "kwargs": {"in_features": 6, "out_features": 3}},
        "criterion": node,
    }
    batch = batches(1)[0]
    built = Experiment().task(
        compile_config({"stages": [stage]}, check=False).resolved["stages"][0]
    )
    result = built.compute(batch)
    expected = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 4.0]))
    assert torch.equal(result.loss, expected(result.outputs["output"], batch["target"]["class_id"]))


@pytest.mark.seed("S3-52", "S3-53")
def test_a_meter_has_its_own_binds_and_phases() -> None:
    """Left out, it is measured in every phase; `val` alone is not seen in training."""
    meters = [
        MeterEntry("loss", LossMeter()),
        MeterEntry("right", AccuracyMeter(), {"target": "class_id"}, ("val",)),
    ]
    trainer = toy_trainer(meters=meters)
    values = trainer.train(1)
    assert set(values) == {"train/loss", "val/loss", "val/accuracy"}
    recorder = Recorder([MeterEntry("right", AccuracyMeter(), {"output": "scores"})], "val")
    batch = batches(1)[0]
    with pytest.raises(UserError, match=r"meters\.right: .*scores.*class_id.*output"):
        recorder.record(batch, SupervisedTask(ToyModel(), CrossEntropyLoss()).compute(batch))


@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_inspected_after_the_first_step(
    monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Neither signatures nor frames nor modules' names are read while a run goes on."""
    parts = {"one": Criterion(CrossEntropyLoss()), "two": Criterion(CrossEntropyLoss(), 0.5)}
    calls: list[str] = []
    seen: list[int] = []
    real = inspect.signature

    def counting(*words: Any, **named: Any) -> inspect.Signature:
        calls.append(str(words[0]))
        return real(*words, **named)

    monkeypatch.setattr(inspect, "signature", counting)
    trainer = toy_trainer(meters=[LossMeter(), AccuracyMeter()], train=batches(6))
    if several:
        trainer.task.criterion = Criteria(parts)  # type: ignore[attr-defined]
        trainer.task._single = None  # type: ignore[attr-defined]
    step = trainer.step

    def counted(batch: Any) -> None:
        step(batch)
        seen.append(len(calls))

    monkeypatch.setattr(trainer, "step", counted)
    trainer.train(3)
    assert len(seen) == 18
    assert seen[0] > 0
    first_epoch, evaluated = seen[:6], seen[6:]
    assert len(set(first_epoch)) == 1
    assert len(set(evaluated)) == 1, "the first evaluation binds its own meters, no other does"
    before = len(calls)
    for batch in batches(2):
        trainer.task.predict(batch)  # type: ignore[attr-defined]
    assert len(calls) == before


def test_a_bound_output_leaves_the_target_to_the_other_parameter() -> None:
    """The first output is not taken for a target because a bind named the second."""
    batch = batches(1)[0]
    batch["target"] = {"angle_wanted": torch.rand(len(batch["x"]))}
    model = Giving("mapping")
    bound = SupervisedTask(model, nn.MSELoss(), bind_criterion={"input": "angle"})
    result = bound.compute(batch)
    wanted = batch["target"]["angle_wanted"]
    assert torch.equal(result.loss, nn.functional.mse_loss(result.outputs["angle"], wanted))
    entry = MeterEntry("error", RegressionMeter(), {"output": "angle"})
    recorder = Recorder([entry], "val")
    recorder.record(batch, result)
    error = float((result.outputs["angle"] - wanted).abs().mean())
    assert recorder.compute()["mae"] == pytest.approx(error)
