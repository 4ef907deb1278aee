"""The step: one update or several, each with its own optimizer and frequency, exact gradients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.step import build_step
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.protocols import Batch, UpdateResult
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, batches, toy_trainer


class Judge:
    """The discriminator's update: real against made."""

    name = "judge"
    networks = ("discriminator",)
    every = 1

    def __init__(self, task: Duel) -> None:
        self.task = task

    def compute(self, batch: Batch) -> UpdateResult:
        made = self.task.used["generator"](batch["x"]).detach()
        real = self.task.used["discriminator"](batch["x"])
        fake = self.task.used["discriminator"](made)
        loss = (1 - real).relu().mean() + (1 + fake).relu().mean()
        return UpdateResult(loss, {"real": real.mean()}, {"made": made})


class Make:
    """The generator's update, every second step."""

    name = "make"
    networks = ("generator",)
    every = 2

    def __init__(self, task: Duel) -> None:
        self.task = task

    def compute(self, batch: Batch) -> UpdateResult:
        made = self.task.used["generator"](batch["x"])
        return UpdateResult(-self.task.used["discriminator"](made).mean(), {}, {"made": made})


class Duel:
    """Two networks against each other."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.networks = {"generator": nn.Linear(6, 6), "discriminator": nn.Linear(6, 1)}
        self.used: dict[str, nn.Module] = dict(self.networks)

    def updates(self) -> Sequence[Any]:
        return (Judge(self), Make(self))

    def evaluate(self, batch: Batch) -> UpdateResult:
        made = self.used["generator"](batch["x"])
        return UpdateResult((made - batch["x"]).square().mean(), {}, {"made": made})

    def replace(self, networks: Any) -> None:
        self.used = dict(networks)


def duel_trainer(hooks: Any = (), data: Any = None) -> Trainer:
    task = Duel()
    optimizers = {
        "judge": torch.optim.SGD(task.networks["discriminator"].parameters(), lr=0.1),
        "make": torch.optim.Adam(task.networks["generator"].parameters(), lr=0.1),
    }
    return Trainer(task, None, optimizers, {"train": data or batches()}, hooks=hooks)


def by_hand(steps: int) -> dict[str, Tensor]:
    task = Duel()
    generator, discriminator = task.networks.values()
    judge = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    make = torch.optim.Adam(generator.parameters(), lr=0.1)
    ready = batches()
    for step in range(steps):
        x = ready[step % len(ready)]["x"]
        made = generator(x).detach()
        judge.zero_grad()
        loss = (1 - discriminator(x)).relu().mean() + (1 + discriminator(made)).relu().mean()
        loss.backward()
        judge.step()
        if step % 2 == 0:
            make.zero_grad()
            (-discriminator(generator(x)).mean()).backward()
            make.step()
    return {
        f"{name}.{key}": value
        for name, network in task.networks.items()
        for key, value in network.state_dict().items()
    }


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, network in trainer.networks.items()
        for key, value in network.state_dict().items()
    }


def test_two_networks_equal_the_hand_written_loop() -> None:
    trainer = duel_trainer()
    trainer.train(3)
    expected = by_hand(12)
    assert all(torch.equal(value, expected[key]) for key, value in weights(trainer).items())


def test_inner_points_fire_per_update_and_name_it() -> None:
    seen: list[tuple[str, str]] = []

    class Look(BaseHook):
        def before_forward(self, stage: Any) -> None:
            seen.append(("forward", stage["update"]))

        def after_optimize(self, stage: Any) -> None:
            seen.append(("optimized", stage["update"]))

        def after_step(self, stage: Any) -> None:
            seen.append(("step", ",".join(sorted(stage["losses"]))))

    duel_trainer([Look()], data=batches(2)).train(1)
    judged = [("forward", "judge"), ("optimized", "judge")]
    made = [("forward", "make"), ("optimized", "make")]
    assert seen == [
        *judged, *made, ("step", "judge,judge_real,make"),
        *judged, ("step", "judge,judge_real"),
    ]  # fmt: skip


def test_two_networks_resume_bit_for_bit_in_mid_epoch(tmp_path: Path) -> None:
    class Save(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.step == 6:
                stage.trainer.request_save(tmp_path / "mid.pth")

    whole = duel_trainer([Save(), EMAHook(decay=0.9)], data=BatchList(batches(), shuffle=True))
    whole.train(4)
    again = duel_trainer([Save(), EMAHook(decay=0.9)], data=BatchList(batches(), shuffle=True))
    again.load_state_dict(read_checkpoint(tmp_path / "mid.pth"))
    assert again.clock.batch == 2
    again.train(4)
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(whole).items())
    first, second = whole.hooks["ema"].state_dict(), again.hooks["ema"].state_dict()
    assert first["updates"] == second["updates"] == 24
    for name, averaged in first["averaged_weights"].items():
        for key, value in averaged.items():
            assert torch.equal(value, second["averaged_weights"][name][key])


def test_an_update_without_optimizer_is_named() -> None:
    task = Duel()
    only = torch.optim.SGD(task.networks["discriminator"].parameters(), lr=0.1)
    trainer = Trainer(task, None, {"judge": only}, {"train": batches()})
    with pytest.raises(UserError, match="'make'"):
        trainer.train(1)


def test_some_update_must_be_due_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "every", 3)
    with pytest.raises(UserError, match=r"no update is due at every step \(judge, make\)"):
        duel_trainer().train(1)


def test_weighted_halves_give_the_gradient_of_the_whole() -> None:
    """What two ranks do with an uneven batch: shares 3/5 and 2/5 of the gradient, averaged."""
    whole = batches(1, size=5)[0]
    x, label = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    whole = {"x": x, "target": {"class_id": label}}
    total = toy_trainer(train=[whole], val=False, dropout=0.0, norm=False)
    total.train(1)
    expected = [p.grad.clone() for p in total.model.parameters()]
    halves = []
    for rows in (slice(0, 3), slice(3, 5)):
        part = {
            "x": x[rows],
            "target": {"class_id": label[rows]},
            "meta": {"index": list(range(len(x[rows]))), "weight": len(x[rows]) * 2 / 5},
        }
        one = toy_trainer(train=[part], val=False, dropout=0.0, norm=False)
        build_step(one.task, one.optimizers, one.table, one.view)(part)
        halves.append([p.grad for p in one.model.parameters()])
    for want, first, second in zip(expected, *halves, strict=True):
        torch.testing.assert_close((first + second) / 2, want)


def test_losses_are_bit_equal_to_a_hand_written_loop() -> None:
    losses = []

    class Keep(BaseHook):
        def after_step(self, stage: Any) -> None:
            losses.append(stage["loss"].clone())

    toy_trainer([Keep()], val=False).train(5)

    reference = toy_trainer(val=False)
    network, criterion = reference.model, nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    torch.manual_seed(0)
    type(network)()  # the trainer's start drew the weights from this seed, too
    expected = []
    for _ in range(5):
        for batch in batches():
            optimizer.zero_grad()
            loss = criterion(network(batch["x"]), batch["target"]["class_id"])
            loss.backward()
            optimizer.step()
            expected.append(loss.detach())
    assert all(torch.equal(a, b) for a, b in zip(losses, expected, strict=True))
