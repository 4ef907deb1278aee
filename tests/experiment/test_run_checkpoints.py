"""The newest and the best checkpoint of a run are found whatever they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtrainer.cli.program import main
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import checkpoints_in
from cvtrainer.engine.stage import StageSettings
from cvtrainer.experiment.run_checkpoints import best_checkpoint, newest_checkpoint
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.meters import AccuracyMeter
from tests.hooks.test_checkpoint_names import NUMBERED, SCORED, Script
from tests.toy import new_run, toy_trainer

ACCURACY = [0.1, 0.9, 0.5, 0.7]
WAYS = {
    "ours": {"save_best": True},
    "the best three": {**SCORED, "metric_name": "val_accuracy"},
    "numbered": {**NUMBERED, "save_best": True},
    "interval": {"names": {"epoch": "epoch_{epoch}.pth"}, "save_best": True},
    "last and best": {
        "save_freq": 0,
        "save_last": True,
        "save_best": True,
        "names": {"last": "last.pt", "best": "best.pt"},
    },
}


def stage(name: str, words: dict[str, Any]) -> dict[str, Any]:
    """A stage of a resolved config, as far as its checkpoints go."""
    kind = "cvtrainer.hooks:CheckpointHook"
    return {"name": name, "hooks": [{"name": "checkpoint", "type": kind, "kwargs": words}]}


def train(run: RunFolder, name: str, words: dict[str, Any], epochs: int = 4) -> None:
    hooks = [Script({"val/accuracy": ACCURACY, "val/loss": ACCURACY}), CheckpointHook(**words)]
    settings = StageSettings(name=name, checkpoints=run.checkpoints / name)
    toy_trainer(hooks, meters=[AccuracyMeter()], run=run, settings=settings).train(epochs)


@pytest.mark.parametrize("way", WAYS)
def test_the_newest_and_the_best(tmp_path: Path, way: str) -> None:
    run = new_run(tmp_path)
    train(run, "train", WAYS[way])
    stages = [stage("train", WAYS[way])]
    newest = newest_checkpoint(run, stages, pytest.fail)
    best = best_checkpoint(run, stages, pytest.fail)
    assert newest is not None
    assert newest[1]["clock"]["epoch"] == 4
    assert best is not None
    assert best[1]["clock"]["epoch"] == 2


def test_a_damaged_best_gives_way_to_the_second_best(tmp_path: Path) -> None:
    run, words = new_run(tmp_path), WAYS["the best three"]
    train(run, "train", words)
    damaged = next((run.checkpoints / "train").glob("epoch_2-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    said: list[str] = []
    best = best_checkpoint(run, [stage("train", words)], said.append)
    assert best is not None
    assert best[1]["clock"]["epoch"] == 4
    assert any(damaged.name in line for line in said)


def test_the_best_of_the_stage_that_kept_one(tmp_path: Path) -> None:
    run, words = new_run(tmp_path), WAYS["the best three"]
    train(run, "first", words)
    train(run, "second", {}, epochs=1)
    best = best_checkpoint(run, [stage("first", words), stage("second", {})], pytest.fail)
    assert best is not None
    assert (best[1]["stage"], best[1]["clock"]["epoch"]) == ("first", 2)


def test_stripped_weights_beside_them_are_no_position(tmp_path: Path) -> None:
    run, words = new_run(tmp_path), WAYS["ours"]
    train(run, "train", words)
    folder = run.checkpoints / "train"
    best = str(folder / "best_model.pth")
    assert main(["ckpt", "strip", best, "--out", str(folder / "weights.pth")]) == 0
    assert checkpoints_in(folder)[0].name == "weights.pth"
    newest = newest_checkpoint(run, [stage("train", words)], pytest.fail)
    assert newest is not None
    assert newest[0].name == "checkpoint_epoch_4.pth"
