"""One process's place among many, and what is refused before any is started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

import cvtrainer
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.ddp.launch import launch_ranks
from cvtrainer.ddp.reduce import broadcast_buffers, broadcast_object, gather_states
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.plan import Plan
from cvtrainer.hooks import DDPHook
from tests.project import change, write_project
from tests.project import cvtrainer as command

PLACE = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}
MEET = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch would say on a machine that has two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "is_nccl_available", lambda: True)


@pytest.mark.seed("S0-10")
def test_more_processes_than_gpus_are_refused_before_any_starts(two_gpus: None) -> None:
    with pytest.raises(UserError, match="3 processes were asked for and there are 2 GPUs"):
        launch_ranks(["train"], 3)
    with pytest.raises(UserError, match="cuda:1 is one GPU and 2 processes"):
        launch_ranks(["train"], 2, device="cuda:1")


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes were asked for each time; none is started, so that none starts more."""
    monkeypatch.chdir(tmp_path)
    asked: list[int] = []

    def launch(words: Sequence[str], processes: int, **more: object) -> int:
        asked.append(processes)
        return 1

    monkeypatch.setattr("cvtrainer.jobs.launched.launch_ranks", launch)
    return asked


@pytest.mark.seed("S0-10", "S0-56", "S2-17")
@pytest.mark.parametrize(
    ("num_gpus", "started"), [(None, [3]), (2, [2]), (4, [4]), (1, []), (0, [])]
)
def test_the_argument_overrides_the_number_in_the_config(
    tmp_path: Path, launches: list[int], num_gpus: int | None, started: list[int]
) -> None:
    config = write_project(tmp_path)
    change(config, ddp={"enabled": True, "num_gpus": 3})
    with pytest.raises(RunFailed) if started else nullcontext():
        cvtrainer.train(config, overrides=["dir=run", "epochs=1"], num_gpus=num_gpus)
    assert launches == started
    if num_gpus == 0:
        assert "device: cpu" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.seed("S0-11")
def test_a_launched_process_starts_no_others(
    tmp_path: Path, launches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_project(tmp_path)
    change(config, ddp={"enabled": True, "num_gpus": 3})
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", **MEET}.items():
        monkeypatch.setenv(name, value)
    cvtrainer.train(config, overrides=["dir=run", "epochs=1"])
    assert launches == []


@pytest.mark.seed("S0-11")
def test_the_place_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert not World.launched()
    assert World.from_environment() == World()
    for name, value in MEET.items():
        monkeypatch.setenv(name, value)
    assert World.launched()
    assert World.from_environment() == World(rank=3, local_rank=1, world_size=4)
    monkeypatch.setenv("RANK", "three")
    with pytest.raises(UserError, match="does not say which process"):
        World.from_environment()


def test_one_process_exchanges_with_itself() -> None:
    with joined_world("cpu") as world:
        assert world == World()
        assert gather_states({"a": 1}, world) == [{"a": 1}]
        assert broadcast_object("x", world) == "x"
        broadcast_buffers([nn.BatchNorm1d(2)], world)
    assert not distributed.is_initialized()


@pytest.mark.seed("S0-56")
def test_the_hook_does_nothing_in_one_process() -> None:
    plan = Plan()
    DDPHook(sync_batchnorm=True).configure(plan)
    assert plan.wrap is None
    assert not plan.sync_batchnorm


def test_what_needs_a_gpu_is_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvtrainer.hooks.ddp.running_processes", lambda: 2)
    plan, hook = Plan(), DDPHook(backend="nccl", sync_batchnorm=True)
    hook.configure(plan)
    assert plan.wrap is not None
    assert not plan.sync_batchnorm
    assert len(hook._notes) == 2
    with pytest.raises(UserError, match="backend"):
        DDPHook(backend="mpi")  # type: ignore[arg-type]


SPY = '''
import os
import signal
import time

from cvtrainer.hooks.base import BaseHook


class KillHook(BaseHook):
    def after_step(self, stage):
        if stage.step == 2 and stage.trainer.world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class BusyHook(BaseHook):
    """Rank 1 fails while rank 0 is busy with something that waits for nobody."""

    def after_step(self, stage):
        if stage.trainer.world.rank == 1:
            raise ValueError("rank one has had enough")
        time.sleep(100)
'''


def project_with(folder: Path, hook: str) -> Path:
    config = write_project(folder)
    (config.parent / "spy.py").write_text(SPY)
    change(config, hooks=[f"apps.toy.spy.{hook}"])
    return folder


WORDS = ("train", "--config", "apps/toy/train.yaml", "--num_gpus", "2")


@pytest.mark.long
@pytest.mark.parametrize("hook", ["KillHook", "BusyHook"])
def test_the_launcher_and_the_ranks_tell_a_cause_once(tmp_path: Path, hook: str) -> None:
    done = command(*WORDS, cwd=project_with(tmp_path, hook), timeout=100)
    assert done.returncode == 1
    causes = ("rank 1 was ended by SIGKILL", "ValueError: rank one has had enough")
    told = [done.stderr.count(cause) for cause in causes]
    assert told == ([1, 0] if hook == "KillHook" else [0, 1]), done.stderr
    assert done.stderr.count("Traceback") == told[1], done.stderr
    assert done.stderr.count("training in 2 processes failed") == 1


@pytest.mark.long
def test_what_all_ranks_find_wrong_is_told_once(tmp_path: Path) -> None:
    project = project_with(tmp_path, "BusyHook")
    done = command(*WORDS, "--resume", "nowhere.pth", cwd=project, timeout=60)
    assert done.returncode != 0
    assert done.stderr.count("nowhere.pth") == 1
