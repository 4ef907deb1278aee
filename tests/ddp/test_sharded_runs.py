"""Sharded training from the command line: killed while saving, resumed, evaluated alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cvtrainer
from cvtrainer.engine.checkpoint import checkpoints_in, read_checkpoint
from tests.project import change, write_project
from tests.project import cvtrainer as command

SPY = '''
import os
import signal

from torch import nn

from cvtrainer.ddp.pieces import in_pieces
from cvtrainer.engine import sharded_checkpoint
from cvtrainer.hooks.base import BaseHook


class PlainNet(nn.Module):
    """No dropout and no BatchNorm, whose results depend on how samples are grouped."""

    def __init__(self, num_classes=3, unused=False):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))
        self.unused = nn.Linear(2, 2) if unused else None

    def forward(self, x):
        return self.head(self.backbone(x))


class KillHook(BaseHook):
    """Kills one rank while the second checkpoint is written."""

    def __init__(self, rank=0):
        self.victim = rank

    def before_train(self, stage):
        assert all(in_pieces(one) for one in stage.model.parameters())
        rank = stage.trainer.world.rank
        written = sharded_checkpoint._checksums

        def checksums(folder, pattern):
            if stage.epoch == 2 and rank == self.victim:
                os.kill(os.getpid(), signal.SIGKILL)
            return written(folder, pattern)

        sharded_checkpoint._checksums = checksums
'''
TRAIN = ("train", "--config", "apps/toy/train.yaml", "--num_gpus", "2")
PER_RANK = "stages.train.dataloader.train.dataloader_args.batch_size=2"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    config = write_project(tmp_path)
    (config.parent / "spy.py").write_text(SPY)
    hooks: list[Any] = [
        {"type": "fsdp", "blocks": ["Conv2d", "Linear"], "sharded_checkpoints": True},
        {"type": "EMAHook", "kwargs": {"decay": 0.5}},
        {"type": "CheckpointHook", "kwargs": {"save_best": True}},
    ]
    change(config, model="apps.toy.spy.PlainNet", hooks=hooks, ddp={"strategy": "fsdp"})
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_killed_while_saving_resumed_and_evaluated_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, victim: int
) -> None:
    done = command(*TRAIN, PER_RANK, "dir=whole", cwd=project)
    assert done.returncode == 0, done.stderr
    config = project / "apps/toy/train.yaml"
    plain = config.read_text()
    hooks = yaml.safe_load(plain)["stages"][0]["hooks"]
    kill = {"type": "apps.toy.spy.KillHook", "kwargs": {"rank": victim}}
    change(config, hooks=[*hooks, kill])
    done = command(*TRAIN, PER_RANK, "dir=cut", cwd=project)
    assert done.returncode == 1
    saved = checkpoints_in(project / "cut/checkpoints")
    assert {path.name for path in saved} == {"best_model.pth", "checkpoint_epoch_1.pth"}
    assert all(read_checkpoint(path)["clock"]["epoch"] == 1 for path in saved)

    config.write_text(plain)
    done = command(*TRAIN, PER_RANK, "dir=cut", "--resume", "auto", cwd=project)
    assert done.returncode == 0, done.stderr
    ends = [
        read_checkpoint(project / run / "checkpoints/checkpoint_epoch_3.pth")
        for run in ("whole", "cut")
    ]
    for name, value in ends[0]["networks"]["model"].items():
        assert torch.equal(ends[1]["networks"]["model"][name], value), name
    assert ends[0]["metrics"] == ends[1]["metrics"]
    assert not list((project / "cut/checkpoints").glob(".*"))

    monkeypatch.chdir(project)
    alone = cvtrainer.train(
        config, overrides=["dir=one", "stages.train.hooks.fsdp.enabled=false"], num_gpus=1
    )
    for name, value in alone.metrics["train"].items():
        assert ends[0]["metrics"][name] == pytest.approx(value, rel=1e-5), name
    last = str(project / "whole/checkpoints/checkpoint_epoch_3.pth")
    found = cvtrainer.evaluate(config, checkpoint=last)
    assert found["val/loss"] == pytest.approx(ends[0]["metrics"]["val/loss"], rel=1e-5)


@pytest.mark.long
@pytest.mark.seed("S1-64")
def test_the_strategy_for_models_that_skip_parts(project: Path) -> None:
    change(project / "apps/toy/train.yaml", hooks=[])
    words = (*TRAIN, PER_RANK, "stages.train.epochs=1", "stages.train.model_args.unused=true")
    strategy = "stages.train.ddp.strategy=ddp_find_unused_parameters_true"
    done = command(*words, strategy, cwd=project)
    assert done.returncode == 0, done.stderr
    done = command(*words, "stages.train.ddp.strategy=ddp", cwd=project)
    assert done.returncode == 1
