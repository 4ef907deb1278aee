"""Launchers: ranks that are told to end, that are started again, and that run on two machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.engine.checkpoint import checkpoints_in, read_checkpoint
from tests.ddp.several import free_port
from tests.project import change, write_project

SPY = '''
import os
import signal
import time
from pathlib import Path

from torch import nn

from cvtrainer.hooks.base import BaseHook


class SlowHook(BaseHook):
    """Gives others time, and says once that training is under way."""

    def __init__(self, pace: float = 0.1):
        self.pace = pace

    def after_step(self, stage):
        if stage.phase == "train":
            if stage.trainer.world.rank == 0:
                print(f"step {stage.step} of {stage.trainer.world.world_size}", flush=True)
            time.sleep(self.pace)


class KillHook(BaseHook):
    """Kills the second rank once, at its eighth step."""

    def after_step(self, stage):
        killed = Path("killed")
        if stage.trainer.world.rank == 1 and stage.step == 8 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class CountMeter:
    """How many samples an epoch has had."""

    PRODUCES = ("count",)

    def __init__(self):
        self.count = 0

    def update(self, batch_size):
        self.count += int(batch_size.sum())

    def compute(self):
        return {"count": float(self.count)}

    def reset(self):
        self.count = 0

    def merge(self, states):
        self.count = sum(state["count"] for state in states)

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class PlainNet(nn.Module):
    """Nothing in it depends on how samples are grouped."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))

    def forward(self, x):
        return self.head(self.backbone(x))
'''
CLI = (sys.executable, "-m", "cvtrainer.cli")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
TRAIN = ("train", "--config", "apps/toy/train.yaml")
PER_RANK = "stages.train.dataloader.train.dataloader_args.batch_size=2"
METERS = ["LossMeter", "apps.toy.spy.CountMeter"]
SAVING: dict[str, Any] = {"type": "CheckpointHook", "kwargs": {"save_steps": 1}}


def project(folder: Path, *hooks: object, epochs: int = 3) -> Path:
    config = write_project(folder)
    (config.parent / "spy.py").write_text(SPY)
    change(
        config, hooks=[SAVING, *hooks], epochs=epochs, model="apps.toy.spy.PlainNet", meters=METERS
    )
    return folder


def start(words: Sequence[str], cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """A launcher in a process group of its own, as a terminal makes one."""
    return subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def children(process: subprocess.Popen[str]) -> list[int]:
    """The ranks of a launcher."""
    words = ["pgrep", "-P", str(process.pid)]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    return [int(number) for number in found.stdout.split()]


def kill_with_children(process: subprocess.Popen[str]) -> None:
    """As if the machine had lost its power."""
    for number in [*children(process), process.pid]:
        os.kill(number, signal.SIGKILL)
    process.communicate(timeout=60)


def wait_for(process: subprocess.Popen[str], text: str, told: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        told.append(line)
        if text in line:
            return
    raise AssertionError("".join(told))


def run(words: Sequence[str], cwd: Path) -> str:
    process = start(words, cwd)
    told = process.communicate(timeout=200)[0]
    assert process.returncode == 0, told
    return told


def logged(folder: Path) -> list[dict[str, Any]]:
    """What does not depend on the clock on the wall."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    words = ("phase", "epoch", "step", "train/loss", "train/count", "val/loss")
    return [{word: line.get(word) for word in words} for line in lines if "step" in line]


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    for path in checkpoints_in(folder / "checkpoints"):
        state = read_checkpoint(path)
        if state["clock"]["step"] == step and state["clock"]["closed"]:
            found: dict[str, torch.Tensor] = state["networks"]["model"]
            return found
    raise AssertionError(f"nothing was saved at the end of step {step}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that nothing befell."""
    folder = project(tmp_path_factory.mktemp("whole"))
    run([*CLI, *TRAIN, "--num_gpus", "2", PER_RANK, "dir=run"], folder)
    return folder / "run"


def assert_as_unbroken(found: Path, whole: Path) -> None:
    assert logged(found) == logged(whole)
    for name, value in weights(whole, 15).items():
        assert torch.equal(weights(found, 15)[name], value), name


@pytest.mark.long
@pytest.mark.seed("S1-55", "S1-63", "S2-13", "S2-19", "S3-76", "S3-80")
@pytest.mark.parametrize("who", ["the terminal", "the launcher", "one rank"])
def test_told_to_end_they_save_and_resume_as_if_nothing_had_been(
    tmp_path: Path, whole: Path, who: str
) -> None:
    folder = project(tmp_path, "apps.toy.spy.SlowHook")
    words = [*CLI, *TRAIN, "--num_gpus", "2", PER_RANK]
    process, told = start([*words, "stages.train.hooks.checkpoint.save_steps=null"], folder), []
    wait_for(process, "step 7 of 2", told)
    if who == "the terminal":
        os.killpg(process.pid, signal.SIGINT)
    elif who == "the launcher":
        process.send_signal(signal.SIGTERM)
    else:
        os.kill(max(children(process)), signal.SIGTERM)
    told.append(process.communicate(timeout=200)[0])
    text = "".join(told)
    assert process.returncode == 130, text
    assert text.count("saved, go on with --resume auto") == 1
    assert "Traceback" not in text
    runs = list(folder.glob("runs/toy/*/"))
    assert len(runs) == 1
    assert [path.name for path in (runs[0] / "checkpoints").iterdir()].count("last.pth") == 1
    run([*words, "--resume", "auto"], folder)
    assert list(folder.glob("runs/toy/*/")) == runs
    assert_as_unbroken(runs[0], whole)


@pytest.mark.long
def test_after_a_killed_rank_all_start_again_and_go_on(tmp_path: Path, whole: Path) -> None:
    folder = project(tmp_path, "apps.toy.spy.KillHook")
    words = [*CLI, *TRAIN, "--num_gpus", "2", PER_RANK, "stages.train.ddp.max_restarts=1"]
    told = run(words, folder)
    runs = list(folder.glob("runs/toy/*/"))
    assert len(runs) == 1
    assert told.count("the processes were started again") == 1
    assert told.count("rank 1 is gone") == 1, told
    assert (folder / "killed").exists()
    assert_as_unbroken(runs[0], whole)


@pytest.mark.long
@pytest.mark.seed("S2-20", "S3-78")
@pytest.mark.parametrize("ranked", [True, False])
def test_two_machines_join_from_the_command_line(tmp_path: Path, whole: Path, ranked: bool) -> None:
    folder = project(tmp_path)
    meet = ("--num_nodes", "2", "--rendezvous", f"127.0.0.1:{free_port()}")
    words = [*CLI, *TRAIN, PER_RANK, "dir=run", *meet]
    nodes = []
    for node in (0, 1):
        nodes.append(start([*words, *(("--node_rank", str(node)) if ranked else ())], folder))
        time.sleep(0.5)
    told = [node.communicate(timeout=200)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert sum(text.count("run folder: run") for text in told) == 1
    assert_as_unbroken(folder / "run", whole)


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.seed("S3-77", "S3-78")
def test_a_machine_is_lost_and_another_one_comes(tmp_path: Path) -> None:
    """torch's elastic engine, from one machine to two: joining, losing and regaining one."""
    slow = {"type": "apps.toy.spy.SlowHook", "kwargs": {"pace": 0.3}}
    folder = project(tmp_path, slow, epochs=40)
    meet = f"127.0.0.1:{free_port()}"
    words = [
        *(*TORCHRUN, "--nnodes=1:2", "--nproc_per_node=1", "--max_restarts=5"),
        *("--rdzv_backend=c10d", "--rdzv_id=toys", f"--rdzv_endpoint={meet}"),
        "--rdzv_conf=last_call_timeout=2,keep_alive_interval=1,keep_alive_max_attempt=3",
        *("--local_addr=127.0.0.1", "-m", "cvtrainer.cli", *TRAIN, PER_RANK),
    ]
    told: list[str] = []
    alike = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    first = start(words, folder, **alike)
    wait_for(first, "step 3 of 1", told)
    second = start(words, folder, **alike)
    wait_for(first, " of 2", told)
    wait_for(first, " of 2", told)
    kill_with_children(second)
    wait_for(first, " of 1", told)
    third = start(words, folder, **alike)
    wait_for(first, " of 2", told)
    told.append("(the rest)\n")
    told.append(first.communicate(timeout=300)[0])
    third.communicate(timeout=60)
    text = "".join(told)
    assert first.returncode == 0, text
    assert text.count("the processes were started again") >= 3, text
    runs = list(folder.glob("runs/toy/*/"))
    assert len(runs) == 1, text
    lines = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    counts = {line["epoch"]: line["train/count"] for line in lines if "train/count" in line}
    assert counts == dict.fromkeys(range(1, 41), 18.0), text
