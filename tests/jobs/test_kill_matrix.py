"""Every technique, killed at random moments and resumed: the unbroken run, bit for bit.

Moments are drawn in wall-clock time, so a kill falls into steps, evaluations and half-written
checkpoints alike. Checkpoints are made every few batches, in the middle of a step as well.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtrainer.engine.checkpoint import checkpoints_in, read_checkpoint
from tests.attempts import Attempts
from tests.project import change, write_project
from tests.trainer.test_state import assert_same, without_identity

PARTS = '''
import time

import torch
from torch import nn

from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.protocols import UpdateResult


class SavesOften(BaseHook):
    """A checkpoint every other batch, and time for the killer."""

    rank = Rank.SAVE

    def after_step(self, stage):
        if stage.phase == "train":
            time.sleep(0.01)
            batches = stage.clock.batches
            if batches % 2 == 1:
                folder = stage.trainer.settings.checkpoints
                stage.trainer.request_save(folder / f"often_{batches % 6}.pth")


class Update:
    def __init__(self, task, name, networks, every, compute):
        self.task, self.name, self.networks, self.every = task, name, networks, every
        self.compute = compute


class TwoUpdates:
    """Classifies, and every other step also makes the features small."""

    def __init__(self, model, criterion):
        rest = nn.Sequential(model.adapter, model.head)
        self.networks = {"features": model.backbone, "rest": rest}
        self.used = dict(self.networks)
        self.criterion = criterion

    def replace(self, networks):
        self.used = dict(networks)

    def updates(self):
        return (
            Update(self, "classify", ("features", "rest"), 1, self.classify),
            Update(self, "shrink", ("features",), 2, self.shrink),
        )

    def classify(self, batch):
        output = self.used["rest"](self.used["features"](batch["x"]))
        loss = self.criterion(output, batch["target"]["class_id"])
        return UpdateResult(loss, {}, {"output": output})

    def shrink(self, batch):
        return UpdateResult(self.used["features"](batch["x"]).square().mean(), {}, {})

    def evaluate(self, batch):
        return self.classify(batch)
'''
ONE_CYCLE = {
    "type": "LRSchedulerHook",
    "kwargs": {
        "scheduler_type": "OneCycleLR",
        "scheduler_kwargs": {"max_lr": 0.02},
        "by": "step",
    },
}
CHECKPOINTS = [
    {"type": "CheckpointHook", "kwargs": {"save_best": True, "save_freq": 3, "max_keep": 2}},
    "apps.toy.parts.SavesOften",
]
CASES: dict[str, dict[str, Any]] = {
    "plain": {"hooks": [ONE_CYCLE]},
    "ema": {"hooks": [{"type": "ema", "kwargs": {"decay": 0.9}}, ONE_CYCLE]},
    "accumulation": {"hooks": [{"type": "accumulate", "kwargs": {"steps": 3}}, ONE_CYCLE]},
    "amp": {"hooks": [{"type": "amp", "kwargs": {"dtype": "bfloat16"}}, "ema"]},
    "rounded": {
        "quantise": {"freeze_ranges": "60%", "freeze_batch_norm": "40%", "num_batches": 2},
        "hooks": ["ema", {"type": "accumulate", "kwargs": {"steps": 3}}, ONE_CYCLE],
    },
    "two_optimizers": {"task": "apps.toy.parts.TwoUpdates", "hooks": ["ema"]},
    "multi_stage": {"hooks": ["ema"], "epochs": 3},
    "plateau": {
        "hooks": [
            {
                "type": "LRSchedulerHook",
                "kwargs": {
                    "scheduler_type": "ReduceLROnPlateau",
                    "scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 0.5},
                    "metric": "val_loss",
                },
            }
        ]
    },
    "early_stop": {
        "epochs": 40,
        "hooks": [
            {
                "type": "early_stopping",
                "kwargs": {"metric_name": "val_loss", "patience": 2, "min_delta": 0.05},
            },
            "ema",
        ],
    },
}
TRAIN = ("train", "--config", "apps/toy/train.yaml", "dir=run")


@pytest.fixture(scope="module")
def attempts() -> Iterator[Attempts]:
    with Attempts() as started:
        yield started


def project(root: Path, case: str) -> Path:
    """The case's config in a folder of its own."""
    root.mkdir()
    config = write_project(root)
    (config.parent / "parts.py").write_text(PARTS)
    stage = {"epochs": 7, **CASES[case]}
    change(config, **{**stage, "hooks": [*stage["hooks"], *CHECKPOINTS]})
    if case == "multi_stage":
        tree = yaml.safe_load(config.read_text())
        tree["stages"].append({**tree["stages"][0], "name": "second", "init_from": "previous"})
        config.write_text(yaml.safe_dump(tree, sort_keys=False))
    return root


def checkpoints(root: Path) -> list[Path]:
    run = root / "run" / "checkpoints"
    return [path for folder in (run, *run.glob("*/")) for path in checkpoints_in(folder)]


def final_states(root: Path) -> dict[str, dict[str, Any]]:
    """The best and the last state of each stage."""
    found: dict[str, dict[str, Any]] = {}
    for path in checkpoints(root):
        state = read_checkpoint(path)
        name = f"{state['stage']} {'best' if path.name == 'best_model.pth' else 'last'}"
        clock = state["clock"]
        place = (clock["batches"], clock["closed"], path.name == "last.pth")
        if name not in found or place > found[name]["place"]:
            keeper = state["hooks"]["checkpoint"]  # which files there are is no part of training
            state["hooks"]["checkpoint"] = {key: keeper[key] for key in ("best", "best_epoch")}
            found[name] = {"place": place, "state": without_identity(state)}
    return {name: one["state"] for name, one in found.items()}


def logged(root: Path) -> list[dict[str, Any]]:
    """What was logged, less what depends on the clock on the wall."""
    lines = (root / "run" / "metrics.jsonl").read_text().splitlines()
    noise = ("run", "time", "samples/s")
    return [
        {key: value for key, value in json.loads(line).items() if key not in noise}
        for line in lines
    ]


def mark(root: Path) -> int:
    """Changes whenever a checkpoint has become whole."""
    return max((path.stat().st_mtime_ns for path in checkpoints(root)), default=0)


def kill_once(attempts: Attempts, root: Path, draw: random.Random) -> bool:
    """Go on, and die at a random moment after the next checkpoint; False if it was over before."""
    before = mark(root)
    number = attempts.start(root, [*TRAIN, "--resume", "auto"])
    deadline = time.monotonic() + 120
    while mark(root) == before and not attempts.ended(number):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(draw.uniform(0.0, 0.2))
    if not attempts.ended(number):
        os.kill(number, signal.SIGKILL)
    code = attempts.wait(number)
    assert code in (0, -signal.SIGKILL), (root / "told.txt").read_text()
    return code != 0


def compare(attempts: Attempts, folder: Path, case: str, kills: int, seed: int) -> int:
    """One run unbroken, one killed so often, as far as it lasts; the number of kills."""
    whole, broken = project(folder / "whole", case), project(folder / "broken", case)
    assert attempts.run(whole, TRAIN) == 0, (whole / "told.txt").read_text()
    draw = random.Random(seed)
    killed = 0
    while killed < kills and kill_once(attempts, broken, draw):
        killed += 1
    code = attempts.run(broken, [*TRAIN, "--resume", "auto"])
    assert code == 0, (broken / "told.txt").read_text()
    assert_same(final_states(whole), final_states(broken))
    assert logged(whole) == logged(broken)
    return killed


@pytest.mark.long
@pytest.mark.seed("S1-56", "S2-14", "S3-68", "S0-99")
@pytest.mark.parametrize("case", CASES)
def test_killed_at_random_moments_equals_unbroken(
    attempts: Attempts, tmp_path: Path, case: str
) -> None:
    assert compare(attempts, tmp_path, case, 3, seed=len(case)) >= 2


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
def test_killed_twenty_times_equals_unbroken(attempts: Attempts, tmp_path: Path, case: str) -> None:
    killed = 0
    for seed in range(40):
        (tmp_path / str(seed)).mkdir()
        killed += compare(attempts, tmp_path / str(seed), case, 20 - killed, seed)
        if killed >= 20:
            return
    raise AssertionError(f"killed only {killed} times")


@pytest.mark.long
def test_cases_are_what_they_say(attempts: Attempts, tmp_path: Path) -> None:
    """A rate that fell, a run that stopped early, a checkpoint in the middle of a step."""
    early = project(tmp_path / "early", "early_stop")
    assert attempts.run(early, TRAIN) == 0
    assert "stopped early" in (early / "run" / "train.log").read_text()
    plateau = project(tmp_path / "plateau", "plateau")
    assert attempts.run(plateau, TRAIN) == 0
    assert len({line["lr"] for line in logged(plateau) if "lr" in line}) > 1
    several = project(tmp_path / "several", "accumulation")
    assert attempts.run(several, TRAIN) == 0
    states = [read_checkpoint(path) for path in checkpoints(several) if "often" in path.name]
    assert any(not state["clock"]["stepped"] and state["unfinished"][0] for state in states)
