"""Clipping: the bound holds, for the update's own networks, and the norm reaches the loggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import ClipGradientsHook, LoggerHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.trainer import Trainer
from tests.engine.test_step import Duel, duel_trainer
from tests.hooks.test_logger_hook import Kept, trained
from tests.toy import BatchList, batches, toy_trainer
from tests.trainer.test_state import assert_same, without_identity


class Gradients(BaseHook):
    """The gradients that the optimizer gets, by update."""

    rank = Rank.SAVE

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[Tensor]]] = []
        self.norms: list[Tensor] = []

    def before_optimize(self, stage: Any) -> None:
        networks = stage.trainer.networks.values()
        parameters = [one for network in networks for one in network.parameters()]
        grads = [one.grad.clone() for one in parameters if one.grad is not None]
        self.seen.append((stage["update"], grads))
        self.norms.append(next(iter(stage["measured"].values())))


def length(gradients: list[Tensor], norm_type: float = 2.0) -> float:
    return float(torch.cat([one.flatten() for one in gradients]).norm(norm_type))


def gradients(*hooks: BaseHook, epochs: int = 2) -> Gradients:
    seen = Gradients()
    toy_trainer([*hooks, seen], val=False).train(epochs)
    return seen


@pytest.mark.seed("S1-35", "S0-88", "S2-101")
def test_the_norm_of_all_gradients_is_bounded() -> None:
    seen = gradients(ClipGradientsHook(max_norm=0.1))
    assert len(seen.seen) == 8
    for (_, clipped), norm in zip(seen.seen, seen.norms, strict=True):
        assert float(norm) > 0.1
        assert length(clipped) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.seed("S1-35")
def test_a_bound_far_away_changes_nothing() -> None:
    far = toy_trainer([ClipGradientsHook(max_norm=1_000_000.0)], dropout=0.0)
    without = toy_trainer(dropout=0.0)
    far.train(2)
    without.train(2)
    assert_same(far.model.state_dict(), without.model.state_dict())


@pytest.mark.seed("S2-101")
def test_the_largest_element_may_be_the_norm() -> None:
    for _, clipped in gradients(ClipGradientsHook(max_norm=0.01, norm_type=float("inf"))).seen:
        assert length(clipped, float("inf")) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.seed("S2-101")
def test_each_element_is_bounded_by_value() -> None:
    free = gradients(ClipGradientsHook(max_norm=1e6))
    bounded = gradients(ClipGradientsHook(value=0.02))
    for one, other in zip(free.seen[0][1], bounded.seen[0][1], strict=True):
        assert torch.equal(one.clamp(-0.02, 0.02), other)
    assert torch.equal(free.norms[0], bounded.norms[0])


def test_only_the_networks_of_the_update_are_clipped() -> None:
    """The generator's loss leaves gradients in the discriminator; they are nobody's business."""

    class Compare(BaseHook):
        rank = Rank.UPDATE

        def before_optimize(self, stage: Any) -> None:
            own = "discriminator" if stage["update"] == "judge" else "generator"
            networks = stage.trainer.networks
            before = {
                name: length([one.grad for one in network.parameters() if one.grad is not None])
                for name, network in networks.items()
                if next(network.parameters()).grad is not None
            }
            told.append((own, before))

    class After(BaseHook):
        rank = Rank.SAVE

        def before_optimize(self, stage: Any) -> None:
            own, before = told[-1]
            measured = stage["measured"][f"{stage['update']}_gradient_norm"]
            assert float(measured) == pytest.approx(before[own])
            for name, was in before.items():
                network = stage.trainer.networks[name]
                now = length([one.grad for one in network.parameters()])
                if name == own:
                    assert now == pytest.approx(min(was, 0.01), rel=1e-3)
                else:
                    others.append(name)
                    assert now == was

    told: list[tuple[str, dict[str, float]]] = []
    others: list[str] = []
    duel_trainer([After(), ClipGradientsHook(max_norm=0.01), Compare()]).train(1)
    assert "discriminator" in others


def test_weights_equal_a_hand_written_loop() -> None:
    trainer = toy_trainer([ClipGradientsHook(max_norm=0.1)], val=False, dropout=0.0)
    trainer.train(3)
    network = toy_trainer(val=False, dropout=0.0).model
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(3):
        for batch in batches():
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(network(batch["x"]), batch["target"]["class_id"]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.1)
            optimizer.step()
    assert_same(trainer.model.state_dict(), network.state_dict())


def test_the_norm_is_in_the_log_and_read_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    monkeypatch.setattr(Tensor, "__float__", lambda self: reads.append(1) or self.item())
    kept = trained(ClipGradientsHook(max_norm=0.1), LoggerHook(train_log_freq=10))
    norms = [one.values["train/gradient_norm"] for one in kept.records if one.phase == "train"]
    assert len(norms) == 3
    assert all(norm > 0 for norm in norms)
    alone = len(reads)
    reads.clear()
    trained(LoggerHook(train_log_freq=10))
    assert alone - len(reads) == 3


def clipped_trainer(folder: Path, kept: Kept) -> Trainer:
    hooks = [
        ClipGradientsHook(max_norm=0.1),
        LoggerHook(train_log_freq=1),
        CheckpointHook(save_dir=str(folder), save_steps=1),
    ]
    train = BatchList(batches(7), shuffle=True)
    return toy_trainer(hooks, train=train, settings=StageSettings(writers=(kept,)))


@pytest.mark.parametrize("step", [3, 7, 9])
def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path, step: int) -> None:
    first, second = Kept(), Kept()
    whole, again = clipped_trainer(tmp_path / "a", first), clipped_trainer(tmp_path / "b", second)
    whole.train(2)
    again.load_state_dict(read_checkpoint(tmp_path / "a" / f"checkpoint_step_{step}.pth"))
    again.train(2)
    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))

    def norms(kept: Kept) -> list[tuple[int, float]]:
        training = [record for record in kept.records if record.phase == "train"]
        return [(one.step, one.values["train/gradient_norm"]) for one in training]

    assert norms(second) == norms(first)[-len(norms(second)) :]
    assert norms(second)[0][0] == (step if step == 7 else step + 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"max_norm": 1.0, "value": 1.0},
        {"max_norm": 0},
        {"value": -1},
        {"max_norm": float("nan")},
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="clip_gradients"):
        ClipGradientsHook(**arguments)


def test_a_step_without_gradients_is_no_error() -> None:
    class Drop(BaseHook):
        rank = Rank.UPDATE

        def before_optimize(self, stage: Any) -> None:
            for network in stage.trainer.networks.values():
                network.zero_grad()

    trainer = duel_trainer([Drop(), ClipGradientsHook(max_norm=1.0)])
    trainer.train(1)
    assert_same(trainer.model.state_dict(), Duel().networks["generator"].state_dict())
