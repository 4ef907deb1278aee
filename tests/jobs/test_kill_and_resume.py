"""`kill -9` at a random step, then `--resume auto`: bit for bit the unbroken run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import cvtrainer
from cvtrainer.engine.checkpoint import checkpoints_in, read_checkpoint
from tests.project import change, write_project
from tests.trainer.test_state import assert_same, without_identity

SLOW_HOOK = '''
import time

from cvtrainer.hooks.base import BaseHook


class SlowHook(BaseHook):
    """Gives the killer time to hit the middle of an epoch."""

    def after_step(self, stage):
        time.sleep(0.05)
'''
TRAIN = ("train", "--resume", "auto", "--config", "apps/toy/train.yaml")
HOOKS = [
    {"type": "EMAHook", "kwargs": {"decay": 0.9}},
    {
        "type": "LRSchedulerHook",
        "kwargs": {
            "scheduler_type": "OneCycleLR",
            "scheduler_kwargs": {"max_lr": 0.02},
            "by": "step",
        },
    },
    {"type": "CheckpointHook", "kwargs": {"save_steps": 1, "save_best": True}},
    "apps.toy.slow.SlowHook",
]


def project(root: Path, workers: int) -> Path:
    config = write_project(root)
    (config.parent / "slow.py").write_text(SLOW_HOOK)
    wanted = f"shuffle: true, num_workers: {workers}"
    config.write_text(config.read_text().replace("shuffle: true", wanted))
    change(config, hooks=HOOKS)
    return config


def final_state(root: Path) -> dict[str, Any]:
    folder = next(root.glob("runs/toy/*/")) / "checkpoints"
    newest = max(
        (path for path in checkpoints_in(folder) if path.name != "best_model.pth"),
        key=lambda path: read_checkpoint(path)["clock"]["step"],
    )
    return without_identity(read_checkpoint(newest))


def numbers(root: Path) -> list[dict[str, Any]]:
    """What was logged, less what depends on the clock on the wall."""
    file = next(root.glob("runs/toy/*/")) / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        {
            key: value
            for key, value in line.items()
            if key in ("phase", "stage", "epoch", "step") or "loss" in key or "accuracy" in key
        }
        for line in lines
        if "step" in line
    ]


@pytest.mark.long
@pytest.mark.seed("S0-07", "S0-99")
@pytest.mark.parametrize(("kills", "workers"), [(1, 0), (2, 0), (2, 2)])
def test_killed_and_resumed_equals_unbroken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, workers: int
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
        project(root, workers)
    monkeypatch.chdir(whole)
    cvtrainer.train("apps/toy/train.yaml")

    draw = random.Random(kills * 10 + workers)
    for _ in range(kills):
        kill_at_a_random_step(broken, draw)
    monkeypatch.chdir(broken)
    result = cvtrainer.train("apps/toy/train.yaml", resume="auto")
    assert result.metrics["train"]["val/accuracy"] > 0.5
    assert len(list(broken.glob("runs/toy/*/"))) == 1
    assert_same(final_state(whole), final_state(broken))
    assert numbers(whole) == numbers(broken)


def kill_at_a_random_step(root: Path, draw: random.Random) -> None:
    """Train in another process and kill it with no warning once it has made some steps."""
    before = saved(root)
    process = subprocess.Popen(
        [sys.executable, "-m", "cvtrainer.cli", *TRAIN],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while saved(root) == before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(draw.uniform(0.0, 0.25))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def saved(root: Path) -> int:
    return len(list(root.glob("runs/toy/*/checkpoints/checkpoint_step_*.pth")))
