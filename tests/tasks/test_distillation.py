"""Learning from teachers: their share of the loss, that they stay as they are, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.criteria import Criteria, Criterion
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment
from cvtrainer.hooks.base import BaseHook
from cvtrainer.loss import FocalLoss, HeatmapLoss
from cvtrainer.tasks import Classification, Distillation, MultiLabelClassification, Several
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, ToyModel, batches
from tests.trainer.test_state import assert_same


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def distilled(**arguments: Any) -> Distillation:
    torch.manual_seed(0)
    student = SupervisedTask(ToyModel(), nn.CrossEntropyLoss())
    teachers = arguments.pop("teachers", None) or ToyModel(dropout=0.5)
    return Distillation(student, teachers, **arguments)


def trained_by(task: Distillation, *hooks: Any) -> Trainer:
    parameters = [one for net in task.networks.values() for one in net.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    data = {"train": BatchList(batches(), shuffle=True), "val": batches(2, seed=9)}
    return Trainer(task, None, optimizer, data, hooks=hooks)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """By the definition."""
    wanted = (teacher / temperature).softmax(1)
    given = (student / temperature).softmax(1)
    return (wanted * (wanted / given).log()).sum(1).mean() * temperature**2


def test_the_loss_is_the_tasks_own_and_the_divergence_from_the_teacher() -> None:
    task = distilled(temperature=3.0, soft=0.7, hard=0.3)
    batch, (student,) = batches()[0], task.networks.values()
    student.eval()
    result = task.compute(batch)
    scores, taught = student(batch["x"]), task.frozen["teacher"](batch["x"])
    hard = functional.cross_entropy(scores, batch["target"]["class_id"])
    torch.testing.assert_close(result.losses["hard"], hard)
    torch.testing.assert_close(result.losses["soft"], divergence(scores, taught, 3.0))
    torch.testing.assert_close(result.loss, 0.3 * hard + 0.7 * result.losses["soft"])
    torch.testing.assert_close(result.outputs["output"], scores)
    assert list(result.outputs) == ["output"]


def test_several_teachers_count_by_their_factor() -> None:
    torch.manual_seed(4)
    teachers = {"old": {"network": ToyModel(), "factor": 3.0}, "new": ToyModel()}
    task = distilled(teachers=teachers, hard=0.0)
    task.networks["model"].eval()
    losses = task.compute(batches()[0]).losses
    torch.testing.assert_close(
        losses["soft"], 0.75 * losses["soft_old"] + 0.25 * losses["soft_new"]
    )
    assert not torch.equal(losses["soft_old"], losses["soft_new"])


def test_one_score_per_sample_means_yes_or_no() -> None:
    torch.manual_seed(0)
    target = {"target": {"there": torch.tensor([[1.0], [0.0]])}}
    inner = SupervisedTask(nn.Linear(3, 1), nn.BCEWithLogitsLoss(), bind_model=None)
    task = Distillation(inner, nn.Linear(3, 1), temperature=1.0)
    batch = {"x": torch.randn(2, 3), **target}
    losses = task.compute({"input": batch["x"], **target}).losses
    ours, theirs = (
        torch.cat((one, 1 - one), 1)
        for one in (
            net(batch["x"]).sigmoid() for net in (inner.networks["model"], task.frozen["teacher"])
        )
    )
    torch.testing.assert_close(losses["soft"], (theirs * (theirs / ours).log()).sum(1).mean())


def labelled(**arguments: Any) -> Distillation:
    """A student and a teacher of three labels each, and what they make of the same samples."""
    torch.manual_seed(0)
    criterion = arguments.pop("criterion", None) or nn.BCEWithLogitsLoss()
    inner = SupervisedTask(nn.Linear(4, 3), criterion)
    return Distillation(inner, nn.Linear(4, 3), **arguments)


LABELLED = {
    "input": torch.randn(6, 4, generator=torch.Generator().manual_seed(1)),
    "target": {"labels": (torch.arange(18).reshape(6, 3) % 2).float()},
}


def test_labels_are_softened_each_for_itself() -> None:
    """A teacher that is surer of all labels teaches that, though their differences are the same."""
    task = labelled(temperature=2.0)
    student, teacher = task.networks["model"], task.frozen["teacher"]
    with torch.no_grad():
        ours, theirs = ((net(LABELLED["input"]) / 2).sigmoid() for net in (student, teacher))
    yes, no = theirs * (theirs / ours).log(), (1 - theirs) * ((1 - theirs) / (1 - ours)).log()
    torch.testing.assert_close(task.compute(LABELLED).losses["soft"], (yes + no).mean() * 4)
    teacher.load_state_dict(student.state_dict())
    teacher.bias.data += 5.0
    losses = task.compute(LABELLED).losses
    assert float(losses["soft"].detach()) > 0.5
    losses["soft"].backward()
    assert bool((student.bias.grad < 0).all())


class OwnEntropy(nn.BCEWithLogitsLoss):
    """Judges as the class it is made from."""


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, "sigmoid"),
        ({"criterion": nn.CrossEntropyLoss()}, "softmax"),
        ({"criterion": FocalLoss(activation="sigmoid")}, "sigmoid"),
        ({"criterion": FocalLoss(activation="softmax")}, "softmax"),
        ({"criterion": nn.MSELoss()}, "softmax"),
        ({"criterion": OwnEntropy()}, "sigmoid"),
        ({"soft": {"kind": "softmax"}}, "softmax"),
        ({"criterion": nn.CrossEntropyLoss(), "soft": {"kind": "sigmoid"}}, "sigmoid"),
        ({"criterion": nn.MSELoss(), "reading": MultiLabelClassification()}, "sigmoid"),
        ({"reading": Classification()}, "softmax"),
        ({"reading": Classification("other")}, "sigmoid"),
        ({"reading": Several({"output": Classification()})}, "softmax"),
        (
            {
                "criterion": Criteria(
                    {
                        "kind": Criterion(nn.CrossEntropyLoss(), bind={"input": "kind"}),
                        "labels": Criterion(nn.BCEWithLogitsLoss(), bind={"input": "output"}),
                    }
                )
            },
            "sigmoid",
        ),
    ],
)
def test_the_kind_is_what_the_scores_are_read_or_judged_as(
    arguments: dict[str, Any], kind: str
) -> None:
    assert labelled(**arguments).soft.kind == kind


def test_scores_of_anchors_are_no_scores_of_classes() -> None:
    """They are `[N, A, C]`: a softmax over dimension 1 would weigh places against each other."""

    class Detects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"scores": self.layer(x), "anchors": torch.zeros(5, 3)}

    inner = SupervisedTask(Detects(), nn.CrossEntropyLoss(), bind_criterion={"input": "scores"})
    task = Distillation(inner, Detects(), output="scores")
    batch = {"x": torch.randn(2, 5, 4), "target": {"labels": torch.rand(2, 5, 3)}}
    with pytest.raises(UserError, match=r"'scores' \[2, 5, 3\] holds a detector's scores.*soft: 0"):
        task.compute(batch)
    per_place = SupervisedTask(nn.Conv1d(4, 3, 1), nn.CrossEntropyLoss())
    series = {"input": torch.randn(2, 4, 5), "target": {"kinds": torch.zeros(2, 5).long()}}
    assert float(Distillation(per_place, nn.Conv1d(4, 3, 1)).compute(series).loss.detach()) > 0


def test_scores_of_places_are_no_scores_of_classes() -> None:
    inner = SupervisedTask(nn.Conv2d(3, 2, 4, stride=4), HeatmapLoss())
    task = Distillation(inner, nn.Conv2d(3, 2, 4, stride=4))
    points = {"keypoints": torch.rand(2, 2, 2) * 8}
    with pytest.raises(UserError, match=r"holds maps of keypoints.*soft: 0"):
        task.compute({"input": torch.rand(2, 3, 8, 8), "target": points})


def test_teachers_stay_as_they_are_and_outside_of_checkpoints() -> None:
    seen: list[bool] = []
    task = distilled()
    teacher = task.frozen["teacher"]

    class Watch(BaseHook):
        def after_step(self, stage: Any) -> None:
            seen.append(
                teacher.training or any(one.grad is not None for one in teacher.parameters())
            )

    before, run = weights(teacher), trained_by(task, Watch())
    run.train(2)
    assert seen
    assert not any(seen)
    assert_same(before, weights(teacher))
    assert not any(one.requires_grad for one in teacher.parameters())
    state = run.state_dict()
    assert list(state["networks"]) == ["model"]
    assert list(state["networks"]["model"]) == list(before)
    held = sum(one.numel() for one in state["networks"]["model"].values())
    assert held == sum(one.numel() for one in before.values())


def test_evaluation_and_prediction_are_those_of_the_task() -> None:
    task = distilled(reading=Classification(top=2))
    task.networks["model"].eval()
    batch = batches()[0]
    result = task.evaluate(batch)
    assert {"probabilities", "class_id"} <= set(result.outputs)
    assert result.losses == {}
    assert_same(task.predict(batch), result.outputs)


def test_features_of_layers_are_compared() -> None:
    pair = {"student": "backbone", "teacher": "adapter", "factor": 2.0}
    task = distilled(features=[pair], soft=0.0)
    student, teacher = task.networks["model"].eval(), task.frozen["teacher"]
    batch = batches()[0]
    result = task.compute(batch)
    ours, theirs = student.backbone(batch["x"]), teacher.adapter(teacher.backbone(batch["x"]))
    torch.testing.assert_close(result.losses["features"], 2 * functional.mse_loss(ours, theirs))
    torch.testing.assert_close(result.loss, result.losses["hard"] + result.losses["features"])
    assert list(task.networks) == ["model"]
    assert "soft" not in result.losses


def test_an_adapter_brings_widths_together_and_learns() -> None:
    torch.manual_seed(0)
    pair = {"student": "head", "teacher": "backbone", "adapter": nn.Linear(3, 8)}
    run = trained_by(distilled(features=[pair]))
    before = weights(run.networks["adapters"])
    run.train(1)
    after = weights(run.networks["adapters"])
    assert list(run.state_dict()["networks"]) == ["model", "adapters"]
    assert not torch.equal(before["adapters.0.weight"], after["adapters.0.weight"])


def test_maps_of_another_size_are_brought_to_the_teachers() -> None:
    class Maps(nn.Module):
        def __init__(self, stride: int) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3, stride, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).mean((2, 3))

    task = Distillation(
        SupervisedTask(Maps(1), nn.CrossEntropyLoss()), Maps(2), features=[{"student": "layer"}]
    )
    batch = {"x": torch.rand(2, 3, 8, 8), "target": {"class_id": torch.tensor([0, 1])}}
    assert float(task.compute(batch).losses["features"].detach()) > 0


def test_it_resumes_bit_for_bit_in_mid_epoch(tmp_path: Path) -> None:
    class Save(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.phase == "train" and stage.step == 6:
                stage.trainer.request_save(tmp_path / "mid.pth")

    def fresh() -> Trainer:
        pair = {"student": "head", "teacher": "backbone", "adapter": nn.Linear(3, 8)}
        return trained_by(distilled(features=[pair]), Save())

    torch.manual_seed(1)
    whole = fresh()
    torch.manual_seed(2)
    whole.train(3)
    torch.manual_seed(1)
    again = fresh()
    again.load_state_dict(read_checkpoint(tmp_path / "mid.pth"))
    again.train(3)
    for name, network in whole.networks.items():
        assert_same(weights(network), weights(again.networks[name]))


class Wide(ToyModel):
    """Of four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 4)


def test_what_does_not_fit_is_told() -> None:
    batch, big = batches()[0], Wide()
    with pytest.raises(UserError, match=r"has the shape \[5, 3\], that of big \[5, 4\]"):
        distilled(teachers={"big": big}).compute(batch)
    with pytest.raises(UserError, match=r"no layer and no output 'neck'; outputs are output"):
        distilled(features=[{"student": "neck"}]).compute(batch)
    with pytest.raises(UserError, match=r"gives \[5, 3\], backbone of teacher \[5, 8\].*adapter"):
        distilled(features=[{"student": "head", "teacher": "backbone"}]).compute(batch)
    with pytest.raises(UserError, match="Did you mean teacher"):
        distilled(features=[{"student": "head", "teachr": "head"}])
    with pytest.raises(UserError, match="no teacher 'old', but teacher"):
        distilled(features=[{"student": "head", "of": "old"}])
    with pytest.raises(UserError, match="temperature is 0"):
        distilled(temperature=0.0)
    with pytest.raises(UserError, match="kind is 'tanh'; it can be softmax, sigmoid"):
        distilled(soft={"kind": "tanh"})
    with pytest.raises(UserError, match=r"'weight' is not understood\. It has factor and kind"):
        distilled(soft={"weight": 1.0})
    with pytest.raises(UserError, match="gives no output 'scores'"):
        distilled(output="scores").compute(batch)


STAGE = """
model: &small
  type: base_model
  backbone: {type: small_cnn, in_channels: 1, width: WIDTH, depth: 2}
  head: {type: multiclass, num_classes: 10}
criterion: cross_entropy_loss
optimizer: {type: Adam, lr: 0.01}
dataloader:
  train: &data
    dataset: {type: digits, size: 16, color: grey}
    tensorizer: {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
    dataloader_args: {batch_size: 32}
  val: *data
meters: [loss, accuracy]
max_steps: 4
"""
TASK = """
task:
  type: distillation
  teachers:
    big:
      network:
        type: base_model
        backbone: {type: small_cnn, in_channels: 1, width: 8, depth: 2}
        head: {type: multiclass, num_classes: 10}
      weights: teacher/checkpoints/best_model.pth
  temperature: 2
  soft: {factor: 0.5, kind: softmax}
  features:
    - {student: backbone, adapter: {type: torch.nn.Conv2d, args}, factor: 0.1}
  reading: {type: classification, top: 1}
"""
ADAPTER = "{type: torch.nn.Conv2d, in_channels: IN, out_channels: OUT, kernel_size: 1}"


@pytest.mark.long
def test_a_config_names_a_teacher_by_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's weights come from its run; the student's run does without them afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher.yaml").write_text(STAGE.replace("WIDTH", "8"), encoding="utf-8")
    cvtrainer.train(tmp_path / "teacher.yaml", run_dir="teacher")
    saved = read_checkpoint(tmp_path / "teacher/checkpoints/best_model.pth")["networks"]["model"]
    student = tmp_path / "student.yaml"
    widths = [_channels(width) for width in (4, 8)]
    adapter = ADAPTER.replace("IN", str(widths[0])).replace("OUT", str(widths[1]))
    task = TASK.replace("{type: torch.nn.Conv2d, args}", adapter)
    student.write_text(STAGE.replace("WIDTH", "4") + task, encoding="utf-8")

    result = cvtrainer.train(student, run_dir="student")
    names = {"train/loss_hard", "train/loss_soft", "train/loss_features", "val/accuracy"}
    assert names <= set(result.metrics["train"])
    kept = read_checkpoint(result.checkpoints[-1])
    assert set(kept["networks"]) == {"model", "adapters"}

    stage = compile_config(student).resolved["stages"][0]
    built = Experiment(student).task(stage)
    assert isinstance(built, Distillation)
    from cvtrainer.experiment.frozen import fill_frozen

    fill_frozen(built, lambda stage: None)
    assert_same(weights(built.frozen["big"]), saved)

    (tmp_path / "teacher/checkpoints/best_model.pth").unlink()
    with pytest.raises(UserError, match="the weights of big are not there"):
        cvtrainer.train(student, run_dir="again")
    assert cvtrainer.evaluate(student, checkpoint=result.checkpoints[-1])["val/accuracy"] >= 0


def _channels(width: int) -> int:
    from cvtrainer.models.backbones import SmallCNN

    return SmallCNN(width=width, depth=2).out_channels


def test_the_task_inside_is_not_for_a_config_to_give(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    task = "\ntask: {type: distillation, task: x, teachers: {type: base_model}}\n"
    file.write_text(STAGE.replace("WIDTH", "4") + task, encoding="utf-8")
    with pytest.raises(ConfigErrors, match="gets this argument from the framework"):
        compile_config(file)


def test_a_criterion_with_the_name_of_a_part_of_its_loss_is_refused() -> None:
    inner = SupervisedTask(ToyModel(), Criteria({"soft": Criterion(nn.CrossEntropyLoss())}))
    with pytest.raises(UserError, match="a criterion is called soft, as a part of its own loss is"):
        Distillation(inner, ToyModel())
