"""Freezing: nothing of a frozen part moves, thawing happens at an epoch's border, also resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.wrap import gradient_averaging
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.plan import Plan
from cvtrainer.hooks import ClipGradientsHook, EMAHook, FreezeHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.trainer import Trainer
from tests.engine.test_step import duel_trainer
from tests.toy import BatchList, ToyModel, batches, toy_trainer
from tests.trainer.test_state import assert_same, without_identity


class Weights(BaseHook):
    """Copies of everything at the beginning and after each epoch."""

    rank = Rank.RECORD

    def __init__(self) -> None:
        self.after: list[dict[str, Tensor]] = []

    def before_train(self, stage: Any) -> None:
        self.after.append(copy(stage.model))

    def after_epoch(self, stage: Any) -> None:
        self.after.append(copy(stage.model))

    def moved(self) -> list[set[str]]:
        """For each epoch the names of what has changed in it."""
        return [
            {name for name in before if not torch.equal(before[name], after[name])}
            for before, after in zip(self.after, self.after[1:], strict=False)
        ]


def copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


BACKBONE = {"backbone.weight", "backbone.bias"}
LEARNT = {"adapter.weight", "adapter.bias"}
MEASURED = {"adapter.running_mean", "adapter.running_var", "adapter.num_batches_tracked"}
HEAD = {"head.weight", "head.bias"}


def with_decay(hooks: Any, model: nn.Module | None = None) -> Trainer:
    """Momentum and weight decay, which would move a parameter whose gradient is only zero."""
    torch.manual_seed(0)
    model = model or ToyModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    loaders = {"train": batches(), "val": batches(2, seed=9)}
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, loaders, hooks=hooks)


def moved(hook: FreezeHook, epochs: int = 3) -> list[set[str]]:
    seen = Weights()
    with_decay([seen, hook]).train(epochs)
    return seen.moved()


def test_a_frozen_part_stays_in_every_bit() -> None:
    assert moved(FreezeHook(["backbone", "adapter"])) == [HEAD] * 3


def test_batch_norm_of_a_frozen_part_may_go_on_measuring() -> None:
    assert moved(FreezeHook(["backbone", "adapter"], batch_norm="train")) == [HEAD | MEASURED] * 3


def test_batch_norm_outside_of_the_frozen_part_learns_and_measures() -> None:
    assert moved(FreezeHook(["backbone"])) == [LEARNT | MEASURED | HEAD] * 3


def test_a_single_parameter_may_be_named() -> None:
    everything = BACKBONE | LEARNT | MEASURED | HEAD
    assert moved(FreezeHook("head.bias")) == [everything - {"head.bias"}] * 3


@pytest.mark.parametrize("until", [2, "2ep", "2 epochs"])
def test_until_the_end_of_an_epoch(until: Any) -> None:
    everything = BACKBONE | LEARNT | MEASURED | HEAD
    seen = moved(FreezeHook(["backbone", "adapter"], until=until), 4)
    assert seen == [HEAD, HEAD, everything, everything]


def test_gradual_thawing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    seen = moved(FreezeHook(schedule={"adapter": 1, "backbone": 2, "backbone.bias": 3}), 4)
    assert seen[0] == HEAD
    assert seen[1] == HEAD | LEARNT | MEASURED
    assert seen[2] == HEAD | LEARNT | MEASURED | {"backbone.weight"}
    assert seen[3] == HEAD | LEARNT | MEASURED | BACKBONE
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" from here on")[0] for line in said] == [
        "epoch 2: learning adapter",
        "epoch 3: learning backbone",
        "epoch 4: learning backbone.bias",
    ]


def test_momentum_from_before_does_not_move_a_frozen_part() -> None:
    """Trained, then frozen in the same process: the optimizer's old averages stay unused."""
    seen, hook = Weights(), FreezeHook(["backbone", "adapter"])
    trainer = with_decay([hook, seen])
    hook.ends = dict.fromkeys(hook.ends, 0.0)
    trainer.train(1)
    hook.ends = dict.fromkeys(hook.ends, 9.0)
    trainer.train(3)
    assert seen.moved()[0] > HEAD
    assert seen.moved()[2:] == [HEAD] * 2


@pytest.mark.parametrize("name", ["backbone", "twin"])
def test_shared_weights_stay_under_either_name(name: str) -> None:
    model = ToyModel()
    model.twin = model.backbone
    seen = Weights()
    with_decay([seen, FreezeHook([name])], model).train(1)
    assert not seen.moved()[0] & BACKBONE


def test_frozen_gradients_are_not_computed_and_do_not_count_for_clipping() -> None:
    class Look(BaseHook):
        rank = Rank.UPDATE

        def before_optimize(self, stage: Any) -> None:
            grads = {name: p.grad for name, p in stage.model.named_parameters()}
            assert {name for name, grad in grads.items() if grad is not None} == HEAD

        def after_optimize(self, stage: Any) -> None:
            grads = [p.grad for p in stage.model.head.parameters()]
            assert torch.equal(stage["measured"]["gradient_norm"], nn.utils.get_total_norm(grads))

    freeze = FreezeHook(["backbone", "adapter"])
    with_decay([ClipGradientsHook(max_norm=1e6), Look(), freeze]).train(1)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_wrapped_network_freezes_and_thaws_like_a_bare_one() -> None:
    """DDP counts on a gradient of every parameter that it was made with."""

    class Wrapped(BaseHook):
        def configure(self, plan: Plan) -> None:
            plan.wrap = gradient_averaging()

    def trained(*more: BaseHook) -> Weights:
        seen = Weights()
        freeze = FreezeHook(["backbone", "adapter"], until=1)
        torch.manual_seed(0)
        model = ToyModel(dropout=0.0)
        with_decay([seen, freeze, ClipGradientsHook(max_norm=0.1), *more], model).train(2)
        return seen

    wrapped, bare = trained(Wrapped()), trained()
    assert wrapped.moved()[0] == HEAD
    assert_same(wrapped.after, bare.after)


def test_after_training_everything_is_as_it_was() -> None:
    trainer = with_decay([FreezeHook(["backbone"])])
    trainer.model.head.bias.requires_grad_(False)
    trainer.train(1)
    frozen = {name for name, p in trainer.model.named_parameters() if not p.requires_grad}
    assert frozen == {"head.bias"}


def test_with_several_networks_names_begin_with_theirs() -> None:
    trainer = duel_trainer([FreezeHook(["generator.bias"])])
    generator = trainer.networks["generator"]
    before = copy(generator)
    trainer.train(2)
    assert torch.equal(generator.bias, before["bias"])
    assert not torch.equal(generator.weight, before["weight"])


def frozen_trainer(folder: Path) -> Trainer:
    hooks = [
        FreezeHook(schedule={"adapter": 1, "backbone": 2}),
        EMAHook(decay=0.9),
        CheckpointHook(save_dir=str(folder), save_steps=1),
    ]
    return toy_trainer(hooks, train=BatchList(batches(7), shuffle=True), lr=0.02)


@pytest.mark.parametrize("step", [3, 7, 10, 14, 17])
def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path, step: int) -> None:
    whole, again = frozen_trainer(tmp_path / "a"), frozen_trainer(tmp_path / "b")
    whole.train(4)
    again.load_state_dict(read_checkpoint(tmp_path / "a" / f"checkpoint_step_{step}.pth"))
    again.train(4)
    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))


def test_an_unknown_part_gets_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no part 'bakbone'\. Did you mean backbone\?"):
        with_decay([FreezeHook(["bakbone"])]).train(1)
    with pytest.raises(UserError, match="Its parts are backbone, adapter, drop, head"):
        with_decay([FreezeHook(schedule={"zzzzzz": 1})]).train(1)


def test_nothing_left_to_learn_is_one_line() -> None:
    with pytest.raises(UserError, match="nothing is left to learn in epoch 1"):
        with_decay([FreezeHook(["backbone", "adapter", "head"])]).train(1)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"parts": ["head"], "until": "5%"},
        {"parts": ["head"], "until": "30st"},
        {"parts": ["head"], "until": 1.5},
        {"parts": ["head"], "batch_norm": "eval"},
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"hooks\.freeze"):
        FreezeHook(**arguments)
