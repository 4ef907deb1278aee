"""Ways to resume: from where, with which learning rate, with a config changed meanwhile."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.jobs.test_stages import CONFIG, killed, lines, seen, toy, train, write_stages
from tests.project import change

__all__ = ["toy"]

RATES = '''

class RatesHook(BaseHook):
    """The rates of every step, as they were used."""

    def before_step(self, stage):
        if stage.phase == "train":
            groups = stage.trainer.optimizer.param_groups
            rates = [float(group["lr"]) for group in groups]
            SEEN.setdefault("rates", []).append(rates[0] if len(rates) == 1 else rates)
'''


@pytest.fixture
def one(toy: Path) -> Path:
    """One stage that keeps its rates in mind."""
    spy = toy.parent / "spy.py"
    spy.write_text(spy.read_text() + RATES)
    write_stages({"name": "train", "hooks": [*hooks({"scheduler_type": "constant"})]})
    return toy


def hooks(schedule: dict[str, Any]) -> list[Any]:
    return [
        "apps.toy.spy.SpyHook",
        "apps.toy.spy.RatesHook",
        {"type": "LRSchedulerHook", "kwargs": schedule},
        "CheckpointHook",
    ]


def step_schedule(by: str = "epoch") -> dict[str, Any]:
    kind = {"scheduler_type": "StepLR", "scheduler_kwargs": {"step_size": 1, "gamma": 0.5}}
    return {**kind, "by": by}


@pytest.mark.seed("S1-37", "S1-44", "S2-18")
def test_the_config_says_it_and_the_command_line_wins(
    one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(one, epochs=2)
    words = ["train", CONFIG, "dir=run"]
    assert main([*words, "resume=auto"]) == 0
    said = capsys.readouterr().err
    assert "resume: no checkpoint of this config was found; starting from the beginning" in said
    first = "run/checkpoints/checkpoint_epoch_1.pth"
    for given, expected in (
        (["resume=auto", "epochs=3"], 10),
        ([f"resume={first}"], 5),
        (["resume=run", "epochs=4"], 10),
        (["resume=auto", "--resume", first], 5),
        (["resume=null", "--resume", first], 5),
    ):
        seen().clear()
        assert main([*words, *given]) == 0
        assert seen()["step"]["train"] == expected, given
        assert not list(Path("run").glob("earlier_2*"))
    seen().clear()
    assert main([*words, "resume=null"]) == 0
    assert seen()["step"]["train"] == 0
    assert len(list(Path("run").glob("earlier_2*"))) == 1


def test_a_folder_without_a_checkpoint_cannot_be_resumed(one: Path) -> None:
    run = RunFolder.create("toy", "empty", "empty")
    run.close()
    with pytest.raises(UserError, match="this run has no checkpoint to go on from"):
        train("run", resume="empty")
    with pytest.raises(UserError, match="no such checkpoint"):
        train("run", resume="nowhere.pth")
    torch.save({"state_dict": {"a": torch.ones(1)}}, "weights.pth")
    with pytest.raises(UserError, match=r"weights alone are for init_from"):
        train("run", resume="weights.pth")


@pytest.mark.seed("S2-92", "S2-10")
def test_weights_alone_begin_a_run_and_a_checkpoint_goes_on_with_one(one: Path) -> None:
    change(one, epochs=2)
    train("first")
    last = "first/checkpoints/checkpoint_epoch_2.pth"
    saved = read_checkpoint(Path(last))
    seen().clear()
    begun = train("second", f"init_from={last}", "epochs=1")
    assert (seen()["step"]["train"], seen()["moments"]["train"]) == (0, 0)
    start = seen()["start"]["train"]
    assert all(torch.equal(start[k], v) for k, v in saved["networks"]["model"].items())
    assert lines(str(begun.run))[0] == ("train", "train", 5)
    seen().clear()
    train("first", "epochs=3", resume=last)
    assert (seen()["step"]["train"], seen()["moments"]["train"] > 0) == (10, True)


@pytest.mark.seed("S2-10", "S2-11")
def test_resume_or_load(one: Path) -> None:
    """Weights to begin with, a checkpoint to go on from: the same words serve both."""
    train("first")
    words = ("init_from=first/checkpoints/checkpoint_epoch_1.pth", "epochs=2")
    whole = train("whole", *words, resume="auto")
    killed("cut", ("train", 7), *words, resume="auto")
    again = train("cut", *words, resume="auto")
    assert seen()["step"]["train"] == 5
    assert again.metrics == whole.metrics


@pytest.mark.seed("S3-67")
def test_a_run_goes_on_in_its_next_epoch(one: Path) -> None:
    train("run")
    train("run", "epochs=2", resume="run/checkpoints/checkpoint_epoch_1.pth")
    assert lines("run") == [
        ("train", phase, step) for step in (5, 10) for phase in ("train", "val")
    ]


@pytest.mark.seed("S3-69")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("keep", [0.0025] * 5 + [0.00125] * 5),
        ("initial", [0.01] * 5 + [0.005] * 5),
        ("0.04", [0.04] * 5 + [0.02] * 5),
    ],
)
def test_the_rate_after_a_resume(one: Path, wanted: str, expected: list[float]) -> None:
    change(one, epochs=2, hooks=hooks(step_schedule()))
    train("run")
    assert seen().pop("rates") == [0.01] * 5 + [0.005] * 5
    train("run", "epochs=4", f"resume_lr={wanted}", resume="auto")
    assert seen().pop("rates") == pytest.approx(expected)
    told = Path("run/train.log").read_text()
    assert (f"resume_lr: {wanted}: the learning rate is" in told) == (wanted != "keep")
    train("run", "epochs=5", resume="auto")
    assert seen()["rates"] == pytest.approx([expected[-1] / 2] * 5)


def test_a_number_keeps_the_groups_proportions(one: Path) -> None:
    optimizer = {"type": "AdamW", "kwargs": {"lr": 0.01}, "layerwise": {"backbone": 0.001}}
    change(one, optimizer=optimizer)
    train("run")
    (before,) = {tuple(rates) for rates in seen().pop("rates")}
    assert sorted(before) == [0.001, 0.01]
    train("run", "epochs=2", "resume_lr=0.02", resume="auto")
    (after,) = {tuple(rates) for rates in seen()["rates"]}
    assert after == pytest.approx([2 * rate for rate in before])


@pytest.mark.parametrize("name", ["cosine", "OneCycleLR"])
def test_a_schedule_that_begins_anew_fills_what_is_left(one: Path, name: str) -> None:
    kwargs = {"max_lr": 0.01} if name == "OneCycleLR" else {}
    schedule = {"scheduler_type": name, "scheduler_kwargs": kwargs, "by": "step"}
    change(one, epochs=2, hooks=hooks(schedule))
    train("alone")
    alone = seen().pop("rates")
    train("run", "epochs=1")
    seen().clear()
    killed("run", ("train", 12), "epochs=3", "resume_lr=initial", resume="auto")
    train("run", "epochs=3", resume="auto")
    rates = seen()["rates"]
    assert rates == pytest.approx(alone[5:])
    if name == "cosine":
        assert rates[-1] == pytest.approx(0.005 * (1 + math.cos(math.pi * 0.9)))


def test_what_changed_in_the_config_is_told_once_and_kept(one: Path) -> None:
    train("run")
    change(one, optimizer={"type": "AdamW", "kwargs": {"lr": 0.001}}, logger=["console", "file"])
    words = ("epochs=2", "seed=0", "resume=auto", "resume_lr=keep")
    train("run", *words)
    (told,) = [line for line in log() if "changed in the config" in line]
    assert "stages.train.epochs 1 -> 2, stages.train.optimizer.kwargs.lr 0.01 -> 0.001" in told
    assert "see resume_lr" in told
    assert "logger" not in told
    assert seen()["rates"][-1] == 0.01
    written = yaml.safe_load(Path("run/config.yaml").read_text())
    assert written["stages"][0]["epochs"] == 2
    earlier = yaml.safe_load(Path("run/earlier_configs/config_1.yaml").read_text())
    assert earlier["stages"][0]["epochs"] == 1
    train("run", *words)
    killed("run", ("train", 12), "epochs=3", resume="auto")
    train("run", "epochs=3", resume="auto")
    assert sum("changed in the config" in line for line in log()) == 2


def log() -> list[str]:
    return Path("run/train.log").read_text().splitlines()


@pytest.mark.seed("S4-35")
def test_a_fixed_folder_is_used_again_and_others_are_new(one: Path) -> None:
    folders = [train("run").run for _ in range(2)]
    folders += [cvtrainer.train(CONFIG).run for _ in range(2)]
    assert folders[0] == folders[1] == Path("run")
    assert len(set(folders)) == 3
    assert len(list(Path("runs/toy").iterdir())) == 2
