"""Laws that the documents state of training: what is counted, averaged, summed, called and when."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import World
from cvtrainer.experiment import Experiment
from cvtrainer.hooks import AccumulateHook, DataParallelHook, DDPHook
from cvtrainer.hooks.base import BaseHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer
from tests.toy import batches, toy_trainer


@pytest.mark.seed("S4-56", "S2-15")
def test_a_small_network_learns_two_moons_from_pairs_alone() -> None:
    """A model, a loss, an optimizer and loaders of pairs: nothing else is asked of the user."""
    drawn = torch.Generator().manual_seed(0)
    angle = torch.rand(400, generator=drawn) * math.pi
    label = torch.arange(400) % 2
    sign = 1.0 - 2.0 * label
    x = torch.stack((sign * angle.cos() + label, sign * angle.sin() + 0.25 * label), dim=1)
    x += 0.1 * torch.randn(x.shape, generator=drawn)
    loaders = {
        "train": DataLoader(TensorDataset(x[:320], label[:320]), 32, shuffle=True),
        "val": DataLoader(TensorDataset(x[320:], label[320:]), 32),
    }
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    meters = [LossMeter(), AccuracyMeter()]
    trained = Trainer(model, nn.CrossEntropyLoss(), optimizer, loaders, meters=meters)
    assert trained.train(15)["val/accuracy"] > 0.9


class Watch(BaseHook):
    """Writes down what each step gave, and what happened when."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.losses: list[tuple[float, int]] = []
        self.steps: list[tuple[int, int, float]] = []
        self.metrics: list[dict[str, float]] = []
        self.modes: list[tuple[str, bool, bool]] = []

    def before_train(self, stage: Any) -> None:
        self.calls.append("before")

    def after_train(self, stage: Any) -> None:
        self.calls.append("after")

    def after_forward(self, stage: Any) -> None:
        self.modes.append((stage.phase, stage.model.training, torch.is_grad_enabled()))

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.calls.append("step")
            size = len(stage["context"].get("outputs")["output"])
            self.losses.append((float(stage["loss"]), size))
            rate = stage.trainer.optimizer.param_groups[0]["lr"]
            self.steps.append((stage.epoch, stage.step, rate))

    def after_eval(self, stage: Any) -> None:
        self.metrics.append(dict(stage["metrics"]))


@pytest.mark.seed("S2-36", "S2-37", "S2-38")
def test_before_once_after_each_step_and_after_once() -> None:
    """A hook is told of every iteration with its number, its loss and its rate."""
    watch = Watch()
    toy_trainer([watch], lr=0.05).train(2)
    assert watch.calls == ["before", *["step"] * 8, "after"]
    assert watch.steps == [(1 + place // 4, place + 1, 0.05) for place in range(8)]
    assert all(math.isfinite(loss) for loss, _ in watch.losses)


@pytest.mark.seed("S4-59", "S4-62")
def test_the_loss_of_an_epoch_is_the_mean_over_its_samples() -> None:
    """And each epoch ends with the loss and the score of the validation split."""
    watch = Watch()
    values = toy_trainer([watch], meters=[LossMeter(), AccuracyMeter()]).train(1)
    whole = sum(loss * size for loss, size in watch.losses) / sum(size for _, size in watch.losses)
    assert values["train/loss"] == pytest.approx(whole, rel=1e-6)
    watch = Watch()
    toy_trainer([watch], meters=[LossMeter(), AccuracyMeter()]).train(3)
    assert len(watch.metrics) == 3
    assert all({"val/loss", "val/accuracy"} <= set(one) for one in watch.metrics)


@pytest.mark.seed("S4-63")
def test_a_split_is_measured_in_evaluation_mode_without_gradients() -> None:
    """Training goes on in training mode, with gradients."""
    watch = Watch()
    toy_trainer([watch]).train(2)
    assert {one[1:] for one in watch.modes if one[0] == "val"} == {(False, False)}
    assert {one[1:] for one in watch.modes if one[0] == "train"} == {(True, True)}
    assert watch.modes[-3][0] == "train"


@pytest.mark.seed("S4-61")
@pytest.mark.parametrize(("count", "every", "moves"), [(8, 4, 2), (9, 4, 3), (6, 1, 6), (3, 5, 1)])
def test_the_optimizer_moves_once_for_so_many_batches(count: int, every: int, moves: int) -> None:
    """The last group of an epoch may be short, and is not lost."""
    trainer = toy_trainer([AccumulateHook(steps=every)], train=batches(count), val=False)
    made: list[int] = []
    trainer.optimizer.register_step_post_hook(lambda *_: made.append(trainer.clock.batch))
    trainer.train(1)
    assert len(made) == trainer.clock.step == moves


def criterion(node: Any, *, model: Any = None) -> Any:
    stage = {
        "model": model or {"type": "torch.nn.Linear", "in_features": 6, "out_features": 3},
        "criterion": node,
    }
    return Experiment().task(compile_config({"stages": [stage]}, check=False).resolved["stages"][0])


@pytest.mark.seed("S2-76")
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("CrossEntropyLoss", "index"),
        ("NLLLoss", "index"),
        ("MSELoss", "same"),
        ("L1Loss", "same"),
        ("SmoothL1Loss", "same"),
        ("HuberLoss", "same"),
        ("BCEWithLogitsLoss", "same"),
        ("KLDivLoss", "same"),
    ],
)
def test_a_loss_of_torch_times_its_factor(name: str, form: str) -> None:
    batch = batches(1)[0]
    if form == "same":
        batch["target"] = {"wanted": torch.rand(len(batch["x"]), 3)}
    task = criterion({"type": name, "factor": 2.5})
    result = task.compute(batch)
    (target,) = batch["target"].values()
    expected = 2.5 * getattr(nn, name)()(result.outputs["output"], target)
    assert torch.allclose(result.loss, expected, rtol=1e-6)


class Pair(nn.Module):
    """Two pictures of one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"one": self.one(x), "two": self.two(x)}


@pytest.mark.seed("S2-78", "S2-80", "S2-81")
def test_losses_composed_by_name_are_sums_by_hand() -> None:
    """One loss for one output, one for several outputs, several for one: each by its binds."""
    from cvtrainer.engine.criteria import Criteria, Criterion
    from cvtrainer.engine.supervised import SupervisedTask

    batch = {"x": batches(1)[0]["x"], "target": {"wanted": torch.randn(3, 6)}}
    batch["x"] = batch["x"][:3]
    mse, l1 = nn.MSELoss(), nn.L1Loss()

    def composed(**parts: tuple[nn.Module, float, dict[str, str]]) -> Any:
        torch.manual_seed(0)
        made = {name: Criterion(*part) for name, part in parts.items()}
        return SupervisedTask(Pair(), Criteria(made)).compute(batch)

    wanted = batch["target"]["wanted"]
    one_to_one = composed(near=(mse, 2.0, {"input": "one"}), far=(l1, 0.5, {"input": "two"}))
    one, two = (one_to_one.outputs[name] for name in ("one", "two"))
    assert torch.allclose(one_to_one.loss, 2 * mse(one, wanted) + 0.5 * l1(two, wanted))
    assert torch.equal(one_to_one.losses["far"], l1(two, wanted))
    same = composed(a=(mse, 1.0, {"input": "one"}), b=(mse, 1.0, {"input": "two"}))
    assert torch.allclose(same.loss, mse(one, wanted) + mse(two, wanted))
    several = composed(a=(mse, 3.0, {"input": "one"}), b=(l1, 1.0, {"input": "one"}))
    assert torch.allclose(several.loss, 3 * mse(one, wanted) + l1(one, wanted))
    by_field = composed(a=(mse, 1.0, {"input": "one", "target": "two"}))
    assert torch.allclose(by_field.loss, mse(one, two))
    with pytest.raises(UserError, match=r"criterion\.a: .*'three'; there is .*one, two"):
        composed(a=(mse, 1.0, {"input": "three"}))


@pytest.mark.seed("S2-09")
def test_the_number_of_processes_decides_how_networks_are_spread() -> None:
    """One process: as it is, or over its devices where dp is asked for; several: DDP."""
    stage: dict[str, Any] = {
        "hooks": [],
        "ddp": {"strategy": "ddp", "find_unused_parameters": False, "sync_batchnorm": False},
    }
    build = Experiment().hooks

    def kinds(world: World) -> set[type]:
        return {type(one) for one in build(stage, world)} & {DDPHook, DataParallelHook}

    assert kinds(World()) == set()
    assert kinds(World(rank=0, world_size=2)) == {DDPHook}
    stage["ddp"]["strategy"] = "dp"
    assert kinds(World()) == {DataParallelHook}
