"""Half precision: active where it should be, weights in full precision, scalers that resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.hooks import AccumulateHook, AMPHook, BaseHook, ClipGradientsHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from tests.engine.test_step import duel_trainer
from tests.hooks.test_accumulate import SaveAt
from tests.toy import batches, toy_trainer


class Kinds(BaseHook):
    """The precision that each phase computes in."""

    def __init__(self) -> None:
        self.seen: dict[str, torch.dtype] = {}

    def after_forward(self, stage: Any) -> None:
        self.seen[stage.phase] = stage["outputs"]["output"].dtype


@pytest.mark.seed("S1-45", "S1-65", "S3-73")
@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("auto", torch.bfloat16),
        ("bf16", torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        ("fp16", torch.float16),
        ("float16", torch.float16),
    ],
)
def test_both_phases_compute_in_it(word: str, kind: torch.dtype) -> None:
    kinds = Kinds()
    trainer = toy_trainer([AMPHook(word), kinds], meters=[LossMeter(), AccuracyMeter()])
    values = trainer.train(1)
    assert kinds.seen == {"train": kind, "val": kind}
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert 0 < values["train/loss"] < 10
    assert 0 <= values["val/accuracy"] <= 1


def test_without_it_everything_is_in_full_precision() -> None:
    kinds = Kinds()
    toy_trainer([kinds]).train(1)
    assert set(kinds.seen.values()) == {torch.float32}


def test_losses_are_those_of_a_hand_written_loop() -> None:
    losses = []

    class Keep(BaseHook):
        def after_step(self, stage: Any) -> None:
            losses.append(stage["loss"].clone())

    toy_trainer([AMPHook("bf16"), Keep()], val=False, dropout=0.0).train(3)
    reference = toy_trainer(val=False, dropout=0.0)
    network, optimizer = reference.model, reference.optimizer
    for step, loss in enumerate(losses):
        batch = batches()[step % 4]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            expected = nn.functional.cross_entropy(network(batch["x"]), batch["target"]["class_id"])
        expected.backward()
        optimizer.step()
        assert torch.equal(loss, expected.detach()), step


class Largest(BaseHook):
    """The largest gradient that hooks and the optimizer see."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def before_optimize(self, stage: Any) -> None:
        self.seen.append(max(float(p.grad.abs().max()) for p in stage.model.parameters()))


@pytest.mark.seed("S1-65", "S4-22")
def test_gradients_are_scaled_down_before_anybody_sees_them() -> None:
    plain, scaled = Largest(), Largest()
    toy_trainer([plain], val=False, dropout=0.0).train(1)
    toy_trainer([AMPHook("fp16", init_scale=1024.0), scaled], val=False, dropout=0.0).train(1)
    for one, other in zip(plain.seen, scaled.seen, strict=True):
        assert other == pytest.approx(one, rel=0.1)


@pytest.mark.seed("S3-73")
def test_a_step_that_overflows_is_left_out() -> None:
    """A scale far too large: gradients are infinite, weights stay, the scale is halved."""
    amp = AMPHook("fp16", init_scale=2.0**40)
    trainer = toy_trainer([amp], train=batches(1), val=False)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train(1)
    assert all(map(torch.equal, before, trainer.model.parameters()))
    assert amp.state_dict()["main"]["scale"] == 2.0**39
    trainer.train(40)
    assert all(bool(torch.isfinite(p).all()) for p in trainer.model.parameters())
    assert not all(map(torch.equal, before, trainer.model.parameters()))


@pytest.mark.seed("S3-66")
@pytest.mark.parametrize("word", ["bf16", "fp16"])
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, word: str) -> None:
    path = tmp_path / "in_between.pth"

    def hooks() -> list[Any]:
        return [
            AMPHook(word, init_scale=2.0**20, growth_interval=2),
            AccumulateHook(2),
            ClipGradientsHook(0.5),
        ]

    straight = toy_trainer([*hooks(), SaveAt(7, path)], train=batches(5), val=False)
    straight.train(3)
    resumed = toy_trainer(hooks(), train=batches(5), val=False, seed=3)
    resumed.load_state_dict(read_checkpoint(path))
    resumed.train(3)
    assert resumed.hooks["amp"].state_dict() == straight.hooks["amp"].state_dict()
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_each_update_has_a_scaler() -> None:
    amp = AMPHook("fp16", init_scale=2.0**40)
    duel_trainer([amp], [{"x": torch.randn(4, 6)}]).train(2)
    scales = {name: state["scale"] for name, state in amp.state_dict().items()}
    assert scales == {"judge": 2.0**38, "make": 2.0**39}


@pytest.mark.parametrize("wrong", [{"dtype": "int8"}, {"init_scale": 0}, {"backoff_factor": 1.5}])
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"hooks\.amp"):
        AMPHook(**wrong)
