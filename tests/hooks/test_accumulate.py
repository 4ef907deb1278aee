"""Several batches per optimizer step: the gradient of all their samples, exact across a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.step import build_step
from cvtrainer.hooks import AccumulateHook, BaseHook, EMAHook
from tests.engine.test_step import duel_trainer
from tests.toy import batches, toy_trainer


class Gradients(BaseHook):
    """What the optimizer is given, and where."""

    def __init__(self) -> None:
        self.seen: list[list[torch.Tensor]] = []
        self.steps: list[tuple[int, int, bool]] = []

    def before_optimize(self, stage: Any) -> None:
        self.seen.append([p.grad.clone() for p in stage.model.parameters()])

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.steps.append((stage.clock.batch, stage.step, stage.stepped))


def gradients_of(count: int, steps: int, **options: Any) -> Gradients:
    seen = Gradients()
    hooks = [AccumulateHook(steps, **options), seen] if steps else [seen]
    data = batches(count)
    if not steps:
        data = [_joined(data)]
    toy_trainer(hooks, train=data, val=False, lr=0.0, dropout=0.0, norm=False).train(1)
    return seen


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "x": torch.cat([part["x"] for part in parts]),
        "target": {"class_id": torch.cat([part["target"]["class_id"] for part in parts])},
    }


@pytest.mark.seed("S1-31", "S2-84", "S2-85")
def test_the_gradient_is_that_of_one_large_batch() -> None:
    """The last of the four batches is smaller than the others: its samples count alike."""
    few, whole = gradients_of(4, 4), gradients_of(4, 0)
    assert len(few.seen) == len(whole.seen) == 1
    for mine, theirs in zip(few.seen[0], whole.seen[0], strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.seed("S1-31", "S2-89")
def test_a_short_group_ends_the_epoch() -> None:
    seen = gradients_of(5, 2)
    assert seen.steps == [(1, 0, False), (2, 1, True), (3, 1, False), (4, 2, True), (5, 3, True)]
    last = Gradients()
    toy_trainer([last], train=batches(5)[4:], val=False, lr=0.0, dropout=0.0, norm=False).train(1)
    for mine, theirs in zip(seen.seen[2], last.seen[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_the_sum_adds_the_gradients_of_the_batches() -> None:
    together = gradients_of(4, 4, reduction="sum").seen[0]
    each = gradients_of(4, 1).seen
    for place, gradient in enumerate(together):
        torch.testing.assert_close(gradient, sum(one[place] for one in each))


@pytest.mark.seed("S2-84")
def test_steps_of_one_batch_change_nothing() -> None:
    weights = []
    for hooks in ([], [AccumulateHook(1)]):
        trainer = toy_trainer(hooks)
        trainer.train(2)
        weights.append([p.clone() for p in trainer.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="steps is 0"):
        AccumulateHook(0)
    with pytest.raises(UserError, match="reduction is 'median'"):
        AccumulateHook(2, reduction="median")  # type: ignore[arg-type]


@pytest.mark.seed("S1-32", "S1-36")
def test_the_run_counts_optimizer_steps() -> None:
    average = EMAHook()
    trainer = toy_trainer([AccumulateHook(2), average], train=batches(5), val=False)
    assert trainer.steps_per_epoch == 3
    trainer.train(2)
    assert (trainer.clock.step, trainer.clock.batches, average.updates) == (6, 10, 6)


class SaveAt(BaseHook):
    """Asks for a checkpoint after a certain batch of the stage."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train" and stage.clock.batches == self.batch:
            stage.trainer.request_save(self.path)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 6, 9])
def test_a_run_goes_on_from_the_middle_of_a_step(tmp_path: Path, at: int) -> None:
    path = tmp_path / "in_between.pth"
    straight = toy_trainer([AccumulateHook(3), SaveAt(at, path)], train=batches(5), val=False)
    straight.train(3)
    resumed = toy_trainer([AccumulateHook(3)], train=batches(5), val=False, seed=7)
    state = read_checkpoint(path)
    assert bool(state["unfinished"][0]) == (at % 5 not in (0, 3))
    resumed.load_state_dict(state)
    resumed.train(3)
    assert resumed.clock == straight.clock
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_another_number_of_batches_drops_the_unfinished_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in_between.pth"
    toy_trainer([AccumulateHook(3), SaveAt(2, path)], train=batches(5), val=False).train(1)
    resumed = toy_trainer([AccumulateHook(2)], train=batches(5), val=False)
    resumed.load_state_dict(read_checkpoint(path))
    assert "what it had gathered is dropped" in capsys.readouterr().err
    resumed.train(1)


@pytest.mark.seed("S2-108")
def test_two_updates_gather_apart() -> None:
    """Against a loop by hand, in which no update's pass reaches what another one gathers."""
    data = [{"x": torch.randn(4, 6)} for _ in range(4)]
    trainer = duel_trainer([AccumulateHook(2)], data)
    trainer.train(1)
    byhand = duel_trainer([], data)
    for step in range(2):
        due = [one for one in byhand.task.updates() if step % one.every == 0]
        gathered: dict[str, list[torch.Tensor]] = {}
        for place in range(2):
            for update in due:
                own = [p for name in update.networks for p in byhand.networks[name].parameters()]
                loss = update.compute(data[2 * step + place]).loss / 2
                found = torch.autograd.grad(loss, own)
                before = gathered.get(update.name, [torch.zeros_like(p) for p in own])
                gathered[update.name] = [a + b for a, b in zip(before, found, strict=True)]
                if place == 1:
                    for parameter, gradient in zip(own, gathered[update.name], strict=True):
                        parameter.grad = gradient
                    byhand.optimizers[update.name].step()
    for name, network in trainer.networks.items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, byhand.networks[name].state_dict()[key])


def test_two_updates_go_on_from_the_middle_of_a_step(tmp_path: Path) -> None:
    path = tmp_path / "in_between.pth"
    data = [{"x": torch.randn(4, 6)} for _ in range(5)]
    straight = duel_trainer([AccumulateHook(2), SaveAt(3, path)], data)
    straight.train(2)
    resumed = duel_trainer([AccumulateHook(2)], data)
    resumed.load_state_dict(read_checkpoint(path))
    resumed.train(2)
    for name, network in straight.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, resumed.networks[name].state_dict()[key]), (name, key)


@pytest.mark.seed("S3-72")
def test_gradients_are_exchanged_once_per_step() -> None:
    """A wrapped network is held back in every batch but the last of a group."""
    held: list[int] = []

    class Held:
        def __init__(self, network: nn.Module) -> None: ...

        def __enter__(self) -> None:
            held.append(trainer.clock.batch)

        def __exit__(self, *raised: object) -> None: ...

    trainer = toy_trainer([AccumulateHook(2)], train=batches(5), val=False)
    trainer.plan.hold_exchange = Held
    trainer.train(1)
    assert held == [0, 2]


def test_a_function_built_by_hand_takes_one_batch_per_step() -> None:
    trainer = toy_trainer(val=False)
    before = [p.clone() for p in trainer.model.parameters()]
    build_step(trainer.task, trainer.optimizers, trainer.table, trainer.view)(batches(1)[0])
    assert not all(map(torch.equal, before, trainer.model.parameters()))
