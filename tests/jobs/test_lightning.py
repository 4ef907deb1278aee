"""An independent oracle: Lightning's loop and ours, from one config, step by step.

Both compute in this process with one thread; what is asserted is equality, not closeness.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import Tensor

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs import lightning
from cvtrainer.jobs.train import train_otherwise
from tests.experiment.test_per_update import TASK, TWO
from tests.project import change, write_pictures, write_project

EVEN = {"epochs": 3, "logger": ["console"], "meters": ["loss"]}


class Losses(BaseHook):
    """Losses of all batches, the rate of each step, and what was measured."""

    rank = Rank.RECORD

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.val: list[float] = []

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.losses.append(float(stage["loss"]))

    def before_optimize(self, stage: Any) -> None:
        self.rates.append(stage.trainer.optimizers[stage.update].param_groups[0]["lr"])

    def after_eval(self, stage: Any) -> None:
        self.val.append(stage["metrics"]["val/loss"])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """18 pictures in batches of 3: six batches an epoch, all of one size."""
    path = write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name == "apps" or name.startswith("apps.")]:
        monkeypatch.delitem(sys.modules, name)
    state = torch.random.get_rng_state()
    yield path
    torch.random.set_rng_state(state)


def set_up(path: Path, **stage: Any) -> None:
    change(path, **{**EVEN, **stage})
    text = path.read_text().replace("batch_size: 4", "batch_size: 3")
    path.write_text(text)


def by_us(path: Path, folder: Path) -> tuple[Losses, dict[str, Tensor]]:
    seen = Losses()

    def adapt(around: Any) -> None:
        around.adapt_hooks = lambda hooks: [*hooks, seen]

    compiled = compile_config(path, [f"dir={folder / 'ours'}"])
    result = train_otherwise(compiled, adapt)
    state = read_checkpoint(result.checkpoints[-1])
    return seen, {
        f"{name}.{key}": value
        for name, weights in state["networks"].items()
        for key, value in weights.items()
    }


def by_lightning(path: Path, **words: Any) -> tuple[Losses, dict[str, Tensor], Any]:
    pytorch_lightning = importlib.import_module("pytorch_lightning")
    seen = Losses()

    class Watch(pytorch_lightning.Callback):
        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            seen.rates.append(optimizer.param_groups[0]["lr"])

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
            if outputs:
                # What it hands out is divided by the batches that it gathers.
                seen.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            seen.val.append(float(trainer.callback_metrics["val/loss"]))

    made = lightning.lightning_stage(path)
    trainer = pytorch_lightning.Trainer(
        **{
            **made.trainer_words,
            "callbacks": [Watch()],
            "enable_progress_bar": False,
            "barebones": False,
            **words,
        }
    )
    trainer.fit(made.module, made.train_loader, made.val_loader)
    weights = {
        f"{name}.{key}": value
        for name, network in made.module.networks.items()
        for key, value in network.state_dict().items()
    }
    return seen, weights, made


def hooks(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*more, {"type": "checkpoint", "save_freq": 1}]


def schedule(kind: str, by: str = "step", **words: Any) -> dict[str, Any]:
    return {"type": "lr_scheduler", "scheduler_type": kind, "scheduler_kwargs": words, "by": by}


CASES: dict[str, dict[str, Any]] = {
    "plain": {"hooks": hooks()},
    "momentum": {
        "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.001},
        "hooks": hooks(),
    },
    "accumulation": {"hooks": hooks({"type": "accumulate", "steps": 3})},
    "clip_norm": {"hooks": hooks({"type": "clip_gradients", "max_norm": 0.1})},
    "clip_value": {"hooks": hooks({"type": "clip_gradients", "value": 0.01})},
    "bfloat16": {"hooks": hooks({"type": "amp", "dtype": "bfloat16"})},
    "cosine_by_step": {"hooks": hooks(schedule("cosine", warmup="20%"))},
    "one_cycle_by_step": {"hooks": hooks(schedule("OneCycleLR", max_lr=0.05))},
    "step_by_epoch": {"hooks": hooks(schedule("StepLR", by="epoch", step_size=1, gamma=0.5))},
    "warm_up_by_epoch": {"hooks": hooks(schedule("linear", by="epoch", warmup="9st"))},
    "plateau": {"hooks": hooks(schedule("plateau", by="epoch", patience=0, threshold=0.5))},
    "groups": {
        "optimizer": {
            "type": "AdamW",
            "lr": 0.01,
            "groups": {"no_decay": ["norm", "bias"], "layer_decay": 0.5},
        },
        "hooks": hooks(),
    },
    "all_together": {
        "hooks": hooks(
            {"type": "accumulate", "steps": 2},
            {"type": "clip_gradients", "max_norm": 0.5},
            {"type": "amp", "dtype": "bfloat16"},
            schedule("warmup_cosine", warmup_steps=2),
        )
    },
}


@pytest.mark.long
@pytest.mark.seed("S1-35", "S1-36", "S2-99", "S2-101", "S4-22")
@pytest.mark.parametrize("name", CASES)
def test_lightnings_loop_gives_the_same_losses_and_weights(
    name: str, config: Path, tmp_path: Path
) -> None:
    stage = dict(CASES[name])
    if name == "all_together":  # it does not clip in half precision with a fused optimizer
        stage["optimizer"] = {"type": "AdamW", "lr": 0.01, "fused": False}
    set_up(config, **stage)
    theirs, their_weights, _ = by_lightning(config)
    ours, our_weights = by_us(config, tmp_path)
    steps = 9 if name == "all_together" else 6 if name == "accumulation" else 18
    assert len(ours.losses) == 18
    assert len(set(ours.losses)) == 18
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-6 if "acc" in name else 0, abs=0)
    assert ours.rates == theirs.rates
    assert len(ours.rates) == steps
    assert ours.val == pytest.approx(theirs.val, rel=1e-5)
    assert our_weights.keys() == their_weights.keys()
    for key, value in our_weights.items():
        if name == "accumulation":  # thirds are rounded at another place
            torch.testing.assert_close(value, their_weights[key], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, their_weights[key]), key


@pytest.mark.long
def test_two_optimizers_take_turns_alike(config: Path, tmp_path: Path) -> None:
    (config.parent / "duel.py").write_text(dedent(TASK))
    rates = [
        {"name": "a", "update": "make", **schedule("cosine")},
        {"name": "b", "update": "discriminate", **schedule("StepLR", by="epoch", step_size=1)},
    ]
    set_up(
        config,
        model=None,
        model_args=None,
        criterion=None,
        task="apps.toy.duel:Duel",
        optimizer=TWO,
        hooks=hooks(*rates),
    )
    theirs, their_weights, _ = by_lightning(config)
    ours, our_weights = by_us(config, tmp_path)
    assert len(ours.rates) == 36
    assert ours.rates == theirs.rates
    for key, value in our_weights.items():
        assert torch.equal(value, their_weights[key]), key


@pytest.mark.long
def test_a_short_group_is_where_the_two_differ(config: Path, tmp_path: Path) -> None:
    """Lightning divides the last, short group of an epoch by the full number; we by its own."""
    set_up(
        config,
        epochs=1,
        optimizer={"type": "SGD", "lr": 0.1},
        hooks=hooks({"type": "accumulate", "steps": 4}),
    )
    theirs, their_weights, _ = by_lightning(config)
    ours, our_weights = by_us(config, tmp_path)
    assert len(ours.rates) == len(theirs.rates) == 2
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)
    key = "model.head.1.weight"
    assert not torch.allclose(our_weights[key], their_weights[key], rtol=1e-4)


@pytest.mark.long
def test_what_is_not_carried_over_is_named(config: Path) -> None:
    more = [{"type": "ema", "decay": 0.9}, {"type": "early_stopping", "metric_name": "val_loss"}]
    more[1]["patience"] = 3
    set_up(config, max_steps=7, hooks=hooks(*more), eval_every=2)
    made = lightning.lightning_stage(config, overrides=["epochs=2"])
    assert made.left_out == ("ema", "early_stopping", "checkpoint")
    assert made.trainer_words["max_steps"] == 7
    assert made.trainer_words["check_val_every_n_epoch"] == 2
    assert made.trainer_words["max_epochs"] == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"type": "accumulate", "steps": 2, "reduction": "sum"}, "not their sum"),
        ({"type": "clip_gradients", "max_norm": 1.0, "norm_type": 1.0}, "norms of type 2"),
        ({"type": "amp", "dtype": "float16"}, "bfloat16 where a CPU is told float16"),
        (schedule("plateau", by="epoch") | {"metric": "val_accuracy"}, "only val_loss"),
    ],
)
def test_what_lightning_does_otherwise_is_refused(
    config: Path, hook: dict[str, Any], message: str
) -> None:
    set_up(config, hooks=hooks(hook), meters=["loss", "accuracy"])
    with pytest.raises(UserError, match=message):
        lightning.lightning_stage(config, overrides=["device=cpu"])


def test_a_missing_package_says_what_brings_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cvtrainer.jobs.lightning_module", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(UserError, match=r"pip install \"cvtrainer\[lightning\]\""):
        lightning.lightning_stage(config)


def test_nothing_imports_it_unasked() -> None:
    assert "lightning" not in " ".join(cvtrainer.__all__)
    source = (Path(cvtrainer.__file__).parent / "jobs" / "lightning.py").read_text()
    assert source.count("lightning_module import") == 2


@pytest.mark.long
def test_a_stage_is_named_where_there_are_several(config: Path) -> None:
    write_pictures(config.parent / "more")
    set_up(config, hooks=[])
    with pytest.raises(UserError, match="there is no 'tune'; there is train"):
        lightning.lightning_stage(config, stage="tune")
