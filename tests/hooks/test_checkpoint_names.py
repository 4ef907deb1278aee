"""The naming policies of five programs, each a few words of config, and what they keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint, read_or_before
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import AccumulateHook, EMAHook, LRSchedulerHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from tests.toy import ToyModel, batches, new_run, toy_trainer
from tests.trainer.test_state import assert_same

LOSSES = [0.9, 0.5, 0.7, 0.1234, 0.6]
SCORED = {
    "save_freq": 0,
    "save_top_k": 3,
    "metric_name": "valid_loss",
    "save_last": True,
    "names": {"best": "epoch_{epoch}-loss_{val_loss:.3f}.ckpt", "last": "last.ckpt"},
}
NUMBERED = {
    "save_freq": 0,
    "save_steps": 2,
    "max_keep": 20,
    "save_last": "end",
    "names": {
        "step": "{network}_{step:07d}.pth",
        "last": "{network}_final.pth",
        "marker": "last_checkpoint",
    },
}


class Script(BaseHook):
    """Puts given values in place of the measured ones."""

    rank = Rank.EVALUATE

    def __init__(self, values: Mapping[str, list[float]]) -> None:
        self.values = values

    def after_eval(self, stage: Any) -> None:
        given = {name: values[stage.epoch - 1] for name, values in self.values.items()}
        stage["metrics"] = {**stage["metrics"], **given}


class AccMeter(AccuracyMeter):
    """A meter of the user's own, under a name of their own."""

    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"acc": True}

    def compute(self) -> dict[str, float]:
        return {"acc": next(iter(super().compute().values()))}


class Stop(BaseHook):
    def __init__(self, step: int) -> None:
        self.at = step

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train" and stage.step == self.at:
            stage.trainer.stop()


def trainer(folder: Path, words: Mapping[str, Any], *more: BaseHook, **parts: Any) -> Any:
    hook = CheckpointHook(save_dir=str(folder / "c"), **words)
    parts.setdefault("run", new_run(folder))
    return toy_trainer([*more, hook], meters=[LossMeter(), AccuracyMeter()], **parts)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "c").iterdir())


@pytest.mark.seed("S1-38", "S1-39", "S1-53", "S1-54")
def test_the_three_best_by_their_loss_and_the_last(tmp_path: Path) -> None:
    trainer(tmp_path, SCORED, Script({"val/loss": LOSSES})).train(5)
    assert names(tmp_path) == [
        "epoch_2-loss_0.500.ckpt",
        "epoch_4-loss_0.123.ckpt",
        "epoch_5-loss_0.600.ckpt",
        "last.ckpt",
    ]
    for name in names(tmp_path)[:-1]:
        assert re.fullmatch(r"epoch_\d+-loss_\d+\.\d{3}\.ckpt", name)
        state = read_checkpoint(tmp_path / "c" / name)
        assert f"epoch_{state['clock']['epoch']}-loss_{state['metrics']['val/loss']:.3f}" in name
    assert read_checkpoint(tmp_path / "c" / "last.ckpt")["clock"]["epoch"] == 5


@pytest.mark.seed("S1-38", "S1-54")
def test_the_three_best_after_a_resume_from_the_last(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    trainer(tmp_path, SCORED, Script({"val/loss": LOSSES}), run=run).train(3)
    again = trainer(tmp_path, SCORED, Script({"val/loss": LOSSES}), run=run)
    again.load_state_dict(read_checkpoint(tmp_path / "c" / "last.ckpt"))
    assert again.clock.epoch == 3
    again.train(5)
    assert [name[:7] for name in names(tmp_path)] == ["epoch_2", "epoch_4", "epoch_5", "last.ck"]


@pytest.mark.seed("S1-54")
def test_the_last_one_is_the_newest_state_at_all_times(tmp_path: Path) -> None:
    class Fail(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.step == 11:
                raise ValueError("too far")

    with pytest.raises(ValueError, match="too far"):
        trainer(tmp_path, {**SCORED, "save_steps": 3}, Fail()).train(5)
    assert read_checkpoint(tmp_path / "c" / "last.ckpt")["clock"]["step"] == 9


@pytest.mark.seed("S1-39")
@pytest.mark.parametrize(
    ("metric", "stored", "values", "kept"),
    [
        ("valid_accuracy", "val/accuracy", [0.1, 0.9, 0.5, 0.7, 0.2], [2, 4]),
        ("valid_acc", "val/acc", [0.1, 0.9, 0.5, 0.7, 0.2], [2, 4]),
        ("valid_loss", "val/loss", [0.1, 0.9, 0.5, 0.7, 0.2], [1, 5]),
        ("valid_loss", "val/loss", [0.3, 0.3, 0.3, 0.3, 0.3], [1, 2]),
        ("valid_loss", "val/loss", [0.3, float("nan"), 0.5, float("nan"), 0.4], [1, 5]),
    ],
)
def test_the_best_two_in_the_metrics_own_direction(
    tmp_path: Path, metric: str, stored: str, values: list[float], kept: list[int]
) -> None:
    words = {"save_freq": 0, "save_top_k": 2, "metric_name": metric, "save_last": False}
    hook = CheckpointHook(str(tmp_path / "c"), **words, names={"best": "{epoch}_{value}.pt"})
    meters = [LossMeter(), AccMeter() if "acc" in metric.split("_") else AccuracyMeter()]
    toy_trainer([Script({stored: values}), hook], meters=meters, run=new_run(tmp_path)).train(5)
    assert names(tmp_path) == [f"{epoch}_{values[epoch - 1]}.pt" for epoch in kept]
    assert hook.best == values[hook.best_epoch - 1] == values[kept[0] - 1]


@pytest.mark.seed("S2-88", "S2-89", "S2-90")
def test_twenty_numbered_ones_and_the_final_one_also_after_a_resume(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    trainer(tmp_path, NUMBERED, Stop(45), run=run, train=batches(50)).train(1)
    assert len(names(tmp_path)) == 20 + 2
    again = trainer(tmp_path, NUMBERED, run=run, train=batches(50))
    marker = tmp_path / "c" / "last_checkpoint"
    assert marker.read_text() == "ToyModel_final.pth"
    path, state = read_or_before(marker, lambda text: None)
    assert path.name == "ToyModel_final.pth"
    assert state["clock"]["step"] == 45
    again.load_state_dict(state)
    again.train(1)
    numbered = [f"ToyModel_{step:07d}.pth" for step in range(12, 51, 2)]
    assert names(tmp_path) == [*numbered, "ToyModel_final.pth", "last_checkpoint"]
    assert read_checkpoint(tmp_path / "c" / "ToyModel_final.pth")["clock"]["step"] == 50


@pytest.mark.seed("S2-89")
def test_a_period_that_groups_do_not_divide(tmp_path: Path) -> None:
    """Five batches make a step, so every third step is none of the borders of eight batches."""
    words = {"save_freq": 0, "save_steps": 3, "names": NUMBERED["names"], "save_last": "end"}
    trainer(tmp_path, words, AccumulateHook(steps=5), train=batches(33)).train(1)
    assert names(tmp_path)[:2] == ["ToyModel_0000003.pth", "ToyModel_0000006.pth"]
    state = read_checkpoint(tmp_path / "c" / "ToyModel_0000006.pth")
    assert (state["clock"]["step"], state["clock"]["batch"]) == (6, 30)


@pytest.mark.seed("S2-90")
def test_the_marker_names_the_newest(tmp_path: Path) -> None:
    seen = []

    class Look(BaseHook):
        rank = Rank.SAVE

        def after_step(self, stage: Any) -> None:
            if stage.phase == "train" and stage.step == 3:
                stage.trainer.flush_saves()
                seen.append((tmp_path / "c" / "last_checkpoint").read_text())

    trainer(tmp_path, NUMBERED, Look()).train(1)
    assert seen == ["ToyModel_0000002.pth"]


@pytest.mark.seed("S3-65")
@pytest.mark.parametrize(("interval", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4])])
def test_an_interval_of_epochs(tmp_path: Path, interval: int, epochs: list[int]) -> None:
    words = {"save_freq": interval, "names": {"epoch": "epoch_{epoch}.pth"}}
    settings = StageSettings(checkpoints=tmp_path / "work" / "checkpoints")
    toy_trainer([CheckpointHook(**words)], run=new_run(tmp_path), settings=settings).train(4)
    found = sorted(path.name for path in (tmp_path / "work" / "checkpoints").iterdir())
    assert found == [f"epoch_{epoch}.pth" for epoch in epochs]


@pytest.mark.seed("S2-91", "S3-66")
def test_what_is_in_a_file(tmp_path: Path) -> None:
    """Network, its average, optimizer, schedule, position, random state; on the CPU."""
    schedule = LRSchedulerHook("StepLR", {"step_size": 1, "gamma": 0.5})
    trainer(tmp_path, {}, EMAHook(decay=0.9), schedule).train(2)
    state = torch.load(tmp_path / "c" / "checkpoint_epoch_2.pth", weights_only=True)
    weights = state["networks"]["model"]
    assert weights.keys() == ToyModel().state_dict().keys()
    assert state["hooks"]["ema"]["averaged_weights"]["model"].keys() == weights.keys()
    assert not any(value.is_cuda for value in weights.values())
    assert state["optimizers"]["main"]["state"]
    assert state["optimizers"]["main"]["param_groups"][0]["lr"] == 0.025
    assert state["hooks"]["lr_scheduler"]
    assert (state["clock"]["epoch"], state["clock"]["step"]) == (2, 8)
    assert {"torch", "python", "numpy"} <= set(state["random"][0])


def test_last_and_best(tmp_path: Path) -> None:
    words = {"save_freq": 0, "save_best": True, "save_last": True}
    words["names"] = {"last": "last.pt", "best": "best.pt"}
    trainer(tmp_path, words, Script({"val/accuracy": [0.1, 0.9, 0.5]})).train(3)
    assert names(tmp_path) == ["best.pt", "last.pt"]
    assert read_checkpoint(tmp_path / "c" / "best.pt")["clock"]["epoch"] == 2
    assert read_checkpoint(tmp_path / "c" / "last.pt")["clock"]["epoch"] == 3


@pytest.mark.parametrize(
    ("last", "steps", "kept"),
    [
        ("needed", 8, ["checkpoint_epoch_1.pth", "checkpoint_epoch_2.pth"]),
        ("needed", 6, ["checkpoint_epoch_1.pth", "last.pth"]),
        ("end", 8, ["checkpoint_epoch_1.pth", "checkpoint_epoch_2.pth", "last.pth"]),
        (False, 8, ["checkpoint_epoch_1.pth", "checkpoint_epoch_2.pth"]),
        (False, 6, ["checkpoint_epoch_1.pth", "last.pth"]),
    ],
)
def test_the_last_one_at_the_end(tmp_path: Path, last: Any, steps: int, kept: list[str]) -> None:
    """A run that is ended early leaves one in any case."""
    trainer(tmp_path, {"save_last": last}, Stop(steps)).train(2)
    assert names(tmp_path) == kept


@pytest.mark.parametrize("asynchronous", [True, False])
def test_older_ones_go_once_the_new_one_is_whole(tmp_path: Path, asynchronous: bool) -> None:
    seen = []

    class Look(BaseHook):
        rank = Rank.EVALUATE

        def after_save(self, stage: Any) -> None:
            seen.append(names(tmp_path))

    words = {"max_keep": 1, "asynchronous": asynchronous}
    trainer(tmp_path, words, Look()).train(3)
    one, two, three = (f"checkpoint_epoch_{epoch}.pth" for epoch in (1, 2, 3))
    assert seen == [[one], [one, two], [two, three]]
    assert names(tmp_path) == [three]


def test_synchronous_ones_are_whole_at_their_border(tmp_path: Path) -> None:
    seen = []

    class Look(BaseHook):
        def after_save(self, stage: Any) -> None:
            seen.append((stage["checkpoint_path"].name, stage.step))

    words = {"save_steps": 1, "save_freq": 0, "asynchronous": False, "save_last": False}
    trainer(tmp_path, words, Look()).train(1)
    assert seen == [(f"checkpoint_step_{step}.pth", step) for step in (1, 2, 3, 4)]


def test_a_run_that_died_between_two_files_makes_up_for_the_second(tmp_path: Path) -> None:
    """The first file remembers what else was due at its border, and what was to go after that."""
    words = {"save_best": True, "max_keep": 1, "metric_name": "val_loss"}
    script = Script({"val/loss": [0.9, 0.5, 0.7]})
    run, folder = new_run(tmp_path), tmp_path / "c"
    trainer(tmp_path, words, script, run=run).train(1)
    first_best, first = ((folder / name).read_bytes() for name in names(tmp_path))
    second = trainer(tmp_path, words, script, run=run)
    second.load_state_dict(read_checkpoint(folder / "checkpoint_epoch_1.pth"))
    second.train(2)
    due = read_checkpoint(folder / "best_model.pth")
    (folder / "best_model.pth").write_bytes(first_best)  # as if killed before this one
    (folder / "checkpoint_epoch_1.pth").write_bytes(first)  # and before this one went

    again = trainer(tmp_path, words, script, run=run)
    again.load_state_dict(read_checkpoint(folder / "checkpoint_epoch_2.pth"))
    again.train(3)
    assert names(tmp_path) == ["best_model.pth", "checkpoint_epoch_3.pth"]
    made_up = read_checkpoint(folder / "best_model.pth")
    for state in (due, made_up):
        del state["hooks"]["checkpoint"]["asked"]
    assert_same(due, made_up)


def test_another_runs_files_of_these_names_make_room_and_the_users_own_stay(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    trainer(tmp_path, NUMBERED).train(1)
    own = folder / "ToyModel_pretrained.pth"
    own.write_bytes(b"weights of the user's own")
    trainer(tmp_path, NUMBERED, train=batches(2)).train(1)
    assert names(tmp_path) == [
        "ToyModel_0000002.pth",
        "ToyModel_final.pth",
        "ToyModel_pretrained.pth",
        "last_checkpoint",
        *(path.name for path in folder.glob("run_*")),
    ]
    assert len(list(folder.glob("run_*/ToyModel_*.pth"))) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"names": {"bets": "b.pth"}}, "Did you mean best"),
        ({"names": {"best": "best"}}, "one of the endings .pth, .pt, .ckpt"),
        ({"names": {"best": "a/best.pth"}}, "without a folder"),
        ({"names": {"best": "{epoch.real}.pth"}}, "is no field"),
        ({"names": {"best": "{epoch.pth"}}, "names: best is"),
        ({"names": {"best": "last.pth"}}, "the same name"),
        ({"names": {"best": "b.pth"}, "save_top_k": 2}, "Put {epoch} or {step} into it"),
        ({"names": {"marker": "m.pth"}}, "none of the endings"),
        ({"save_top_k": -1}, "save_top_k"),
        ({"save_last": "never"}, "save_last"),
    ],
)
def test_names_that_cannot_be_are_one_line(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        CheckpointHook(**words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no val_f1.*epoch.*train_accuracy"):
        trainer(tmp_path, {"names": {"epoch": "{epoch}-{val_f1:.2f}.pth"}}).train(1)
    with pytest.raises(UserError, match="format code"):
        trainer(tmp_path, {"names": {"epoch": "{network:d}.pth"}}).train(1)
