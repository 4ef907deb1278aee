"""What is found in steps of every kind: several updates, scaled gradients, hooks that meddle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.engine.capsule import Capsule
from cvtrainer.engine.finding import Finding
from cvtrainer.engine.inspection import Inspector
from cvtrainer.hooks import (
    AccumulateHook,
    AMPHook,
    BaseHook,
    CheckpointHook,
    ClipGradientsHook,
    EMAHook,
    LoggerHook,
    Rank,
)
from cvtrainer.hooks.inspecting import Found, Reached
from cvtrainer.jobs.replay import look_into
from cvtrainer.trainer import Trainer
from tests.engine.test_step import duel_trainer
from tests.toy import BatchList, batches, toy_trainer
from tests.trainer.test_state import assert_same

CAPSULE = Capsule("id", "train", "train", 1, 3, 3, "the loss became NaN")


def looked(trainer: Trainer, capsule: Capsule = CAPSULE) -> Finding | None:
    criterion = getattr(trainer.task, "criterion", None)
    inspector = Inspector(trainer.networks, criterion)
    look_into(trainer, inspector, capsule)
    try:
        trainer.train(5)
    except (Found, Reached) as ended:
        return ended.finding
    finally:
        inspector.detach()
    return None


class At(BaseHook):
    """Does something to the stage at a point of step 3."""

    def __init__(self, point: str, what: Any, *, early: bool = True) -> None:
        self.rank = Rank.UPDATE if early else Rank.SAVE  # type: ignore[misc]
        setattr(self, point, lambda stage: what(stage) if stage.step == _AT[point] else None)


_AT = {
    "before_forward": 2,
    "before_backward": 2,
    "before_optimize": 2,
    "after_optimize": 2,
    "after_step": 3,
}


def spoil(parameter: str, part: str) -> Any:
    def do(stage: Any) -> None:
        tensor = dict(stage.model.named_parameters())[parameter]
        with torch.no_grad():
            (tensor.grad if part == "grad" else tensor)[0] = float("nan")

    return do


def test_a_good_run_is_followed_to_the_step_and_not_beyond() -> None:
    trainer = toy_trainer([CheckpointHook(save_steps=1), LoggerHook()])
    assert looked(trainer) is None
    assert trainer.clock.step == 3
    assert not trainer.saved


def test_looking_changes_nothing() -> None:
    def trainer() -> Trainer:
        hooks = [EMAHook(), ClipGradientsHook(max_norm=1.0)]
        return toy_trainer(hooks, train=BatchList(batches(5), shuffle=True))

    plain = trainer()
    plain.train(2)
    watched = trainer()
    assert looked(watched, replace(CAPSULE, step=10)) is None
    for part in ("networks", "optimizers"):
        assert_same(plain.state_dict()[part], watched.state_dict()[part])


@pytest.mark.parametrize(
    ("hook", "what", "name", "remark"),
    [
        (At("before_optimize", spoil("head.bias", "grad")), "gradient", "head.bias", "at after_b"),
        (At("after_optimize", spoil("head.bias", "data")), "weight", "head.bias", "after_optimize"),
        (At("after_step", spoil("head.bias", "data")), "weight", "head.bias", "at after_step: at"),
        (
            At("before_backward", lambda stage: stage.__setitem__("loss", stage["loss"] / 0)),
            "loss",
            "the step",
            "or before_backward: at",
        ),
    ],
)
def test_what_a_hook_did_is_said_to_be_a_hooks(
    hook: BaseHook, what: str, name: str, remark: str
) -> None:
    found = looked(toy_trainer([hook]))
    assert found is not None
    assert (found.what, found.name, found.place.step) == (what, name, 3)
    assert "a hook put it there" in found.remarks[0]
    assert remark in found.remarks[0]


def test_a_gradient_that_a_hook_mends_is_no_failure() -> None:
    def mend(stage: Any) -> None:
        for one in stage.model.parameters():
            one.grad.nan_to_num_(0.0)

    hooks = [At("before_optimize", spoil("head.bias", "grad")), At("before_optimize", mend)]
    hooks[1].name = "mend"
    assert looked(toy_trainer(hooks)) is None


def test_the_update_of_several_is_named() -> None:
    def spoil_generator(stage: Any) -> None:
        if stage.update == "make":
            with torch.no_grad():
                stage.trainer.networks["generator"].weight[0, 0] = float("nan")

    found = looked(duel_trainer([At("before_forward", spoil_generator)]))
    assert found is not None
    assert (found.what, found.name, found.place.update) == ("output", "generator", "make")
    assert ", update make)" in found.lines()[0]


def test_a_batch_among_those_of_a_step() -> None:
    data = batches(12)
    data[7]["x"][1, 0] = float("inf")
    found = looked(toy_trainer([AccumulateHook(3), EMAHook()], train=data))
    assert found is not None
    assert (found.what, found.name) == ("batch field", "x")
    assert (found.place.step, found.place.batch, found.rows) == (3, 8, (1,))
    assert "36" in next(line for line in found.lines() if "samples" in line)


def test_steps_that_a_scaler_leaves_out_are_none() -> None:
    trainer = toy_trainer([AMPHook("float16", init_scale=2.0**80)], norm=False)
    assert looked(trainer) is None
    assert trainer.clock.step == 3


def test_half_precision_that_overflows_is_told_what_to_do() -> None:
    data = batches(4)
    data[2]["x"] *= 1e6
    found = looked(toy_trainer([AMPHook("float16")], train=data, norm=False, dropout=0.0))
    assert found is not None
    assert (found.what, found.name, found.value) == ("output", "backbone", "NaN")
    assert "use bfloat16 instead of float16" in found.advice()


def test_weights_that_were_bad_from_the_start() -> None:
    trainer = toy_trainer([])
    nn.init.constant_(trainer.model.head.bias, float("nan"))
    found = looked(trainer)
    assert found is not None
    assert (found.what, found.name) == ("weight", "head.bias")
    assert "when the stage began" in found.remarks[0]
