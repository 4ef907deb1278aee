"""Two gloo ranks, started in each documented way, against one process on the same data."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import cvtrainer
from cvtrainer.ddp.wrap import Averaging, gradient_averaging
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import change, write_project
from tests.project import cvtrainer as command

SPY = '''
import json
from pathlib import Path

from torch import nn

from cvtrainer.hooks.base import BaseHook


class SpyHook(BaseHook):
    """Writes down what each rank is and sees."""

    def before_train(self, stage):
        trainer = stage.trainer
        Path(f"rank{trainer.world.rank}.json").write_text(json.dumps({
            "world_size": trainer.world.world_size,
            "wrapped": isinstance(trainer.task._model, nn.parallel.DistributedDataParallel),
        }))
        self.indices = []

    def before_step(self, stage):
        meta = stage["batch"]["meta"]
        if stage["phase"] == "train" and stage.epoch == 1 and meta.get("weight") != 0.0:
            self.indices += meta["index"]

    def after_train(self, stage):
        total = sum(float(p.detach().double().sum()) for p in stage.model.parameters())
        rank = stage.trainer.world.rank
        Path(f"end{rank}.json").write_text(json.dumps({
            "sum": total, "metrics": stage["metrics"], "indices": self.indices,
        }))


class FailHook(BaseHook):
    def after_step(self, stage):
        if stage.step == 2 and stage.trainer.world.rank == 1:
            raise ValueError("rank one has had enough")


class PlainNet(nn.Module):
    """No dropout and no BatchNorm, whose results depend on how samples are grouped."""

    def __init__(self, num_classes=3, unused=False):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))
        self.unused = nn.Linear(2, 2) if unused else None

    def forward(self, x):
        return self.head(self.backbone(x))
'''
TRAIN = ("train", "--config", "apps/toy/train.yaml", "stages.train.epochs=2")
PER_RANK = "stages.train.dataloader.train.dataloader_args.batch_size=2"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
COMMAND = ("-m", "cvtrainer.cli", *TRAIN, PER_RANK)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    config = write_project(tmp_path)
    (config.parent / "spy.py").write_text(SPY)
    hooks = [
        "CheckpointHook",
        {"type": "EMAHook", "kwargs": {"decay": 0.5}},
        "apps.toy.spy.SpyHook",
    ]
    change(config, model="apps.toy.spy.PlainNet", hooks=hooks)
    return tmp_path


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def weights(run: Path, *, averaged: bool = False) -> dict[str, torch.Tensor]:
    state = read_checkpoint(run / "checkpoints" / "checkpoint_epoch_2.pth")
    networks = state["hooks"]["ema"]["averaged_weights"] if averaged else state["networks"]
    found: dict[str, torch.Tensor] = networks["model"]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def assert_both_ranks_took_part(project: Path) -> None:
    for rank in (0, 1):
        assert read(project / f"rank{rank}.json") == {"world_size": 2, "wrapped": True}
    ends = [read(project / f"end{rank}.json") for rank in (0, 1)]
    assert ends[0]["sum"] == ends[1]["sum"]
    assert ends[0]["metrics"] == ends[1]["metrics"]
    seen = ends[0]["indices"] + ends[1]["indices"]
    assert sorted(seen) == list(range(18))


@pytest.mark.seed("S0-10", "S0-56", "S0-99", "S0-105")
def test_num_gpus_two_equals_one_process(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command(*TRAIN, "--num_gpus", "2", "dir=two", PER_RANK, cwd=project)
    assert done.returncode == 0, done.stderr
    assert "rank 0: world_size=2" in done.stderr
    assert "rank 1: world_size=2" in done.stderr
    assert_both_ranks_took_part(project)
    assert read(project / "two" / "run.json")["run_id"]
    assert not (project / "runs").exists()

    monkeypatch.chdir(project)
    alone = cvtrainer.train("apps/toy/train.yaml", overrides=["dir=one", "stages.train.epochs=2"])
    assert read(project / "rank0.json") == {"world_size": 1, "wrapped": False}
    merged = read(project / "end1.json")["metrics"]
    assert merged.keys() == alone.metrics["train"].keys()
    for name, value in alone.metrics["train"].items():
        if "accuracy" in name:
            assert merged[name] == value, name
        else:
            assert merged[name] == pytest.approx(value, rel=1e-6), name
    for averaged in (False, True):
        torch.testing.assert_close(
            weights(project / "two", averaged=averaged), weights(project / "one", averaged=averaged)
        )


@pytest.mark.long
@pytest.mark.seed("S0-11")
def test_torchrun_untouched(project: Path) -> None:
    done = subprocess.run(
        [*TORCHRUN, "--standalone", "--nproc_per_node=2", *COMMAND],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_both_ranks_took_part(project)
    runs = list(project.glob("runs/toy/*/"))
    assert len(runs) == 1
    assert {path.name for path in (runs[0] / "checkpoints").iterdir()} == {
        "checkpoint_epoch_1.pth",
        "checkpoint_epoch_2.pth",
    }


@pytest.mark.long
@pytest.mark.seed("S0-12")
def test_two_agents_as_on_two_machines(project: Path) -> None:
    meet = ("--master_addr=127.0.0.1", f"--master_port={free_port()}")
    agents = [
        subprocess.Popen(
            [
                *TORCHRUN,
                "--nnodes=2",
                "--nproc_per_node=1",
                f"--node_rank={number}",
                *meet,
                *COMMAND,
            ],
            cwd=project,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in (0, 1)
    ]
    assert [agent.wait(timeout=120) for agent in agents] == [0, 0]
    assert_both_ranks_took_part(project)


@pytest.mark.long
def test_one_failing_rank_ends_all_and_the_cause_is_told_once(project: Path) -> None:
    change(project / "apps/toy/train.yaml", hooks=["apps.toy.spy.FailHook"])
    done = command(*TRAIN, "--num_gpus", "2", PER_RANK, cwd=project, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("ValueError: rank one has had enough") == 1
    assert "training in 2 processes failed" in done.stderr


@pytest.mark.long
def test_resume_in_two_ranks_equals_the_unbroken_run(project: Path) -> None:
    for words in ((), ("dir=cut", "stages.train.epochs=1")):
        done = command(*TRAIN, "--num_gpus", "2", "dir=whole", PER_RANK, *words, cwd=project)
        assert done.returncode == 0, done.stderr
    last = "cut/checkpoints/checkpoint_epoch_1.pth"
    done = command(*TRAIN, "--num_gpus", "2", PER_RANK, "--resume", last, cwd=project)
    assert done.returncode == 0, done.stderr
    for name, value in weights(project / "whole").items():
        assert torch.equal(weights(project / "cut")[name], value)


@pytest.mark.long
def test_a_rank_without_samples_to_validate(project: Path) -> None:
    for label in (1, 2):
        shutil.rmtree(project / f"data/val/class_{label}")
    for number in (1, 2):
        (project / f"data/val/class_0/{number}.png").unlink()
    done = command(*TRAIN, "--num_gpus", "2", "dir=two", PER_RANK, cwd=project)
    assert done.returncode == 0, done.stderr
    assert_both_ranks_took_part(project)
    done = command(*TRAIN, "dir=one", cwd=project)
    assert done.returncode == 0, done.stderr
    logged = [
        [json.loads(line) for line in (project / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    alone, both = ([one["val/loss"] for one in lines if one["phase"] == "val"] for lines in logged)
    assert both == pytest.approx(alone, rel=1e-5)


@pytest.mark.seed("S0-57")
@pytest.mark.parametrize("find", [False, True])
def test_find_unused_parameters_reaches_ddp(tmp_path: Path, find: bool) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped = gradient_averaging(Averaging(find_unused_parameters=find))(nn.Linear(2, 2))
        assert isinstance(wrapped, nn.parallel.DistributedDataParallel)
        assert wrapped.find_unused_parameters is find
    finally:
        dist.destroy_process_group()


@pytest.mark.long
@pytest.mark.seed("S0-57")
def test_a_model_with_an_unused_part_trains_when_told_so(project: Path) -> None:
    words = (*TRAIN, "--num_gpus", "2", PER_RANK, "stages.train.model_args.unused=true")
    done = command(*words, "stages.train.ddp.find_unused_parameters=true", cwd=project)
    assert done.returncode == 0, done.stderr
    done = command(*words, cwd=project)
    assert done.returncode == 1
