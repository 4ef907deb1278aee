"""Words of a config that decide about training: sizes, lengths, how often, own parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import cvtrainer
from cvtrainer.core.catalog import HOOKS, METERS
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import POINTS, BaseHook
from tests.project import enter_project
from tests.toy import batches, toy_trainer

OWN = '''
"""A hook, a meter and a loss of a user's own."""

import torch
from torch import nn

from cvtrainer.core.catalog import HOOKS, METERS
from cvtrainer.hooks.base import POINTS, BaseHook

SEEN = []
SIZES = {"train": [], "val": []}


@HOOKS.register_module()
class Recorder(BaseHook):
    def before_forward(self, stage):
        SIZES[stage.phase].append(len(stage["batch"]["meta"]["index"]))
        SEEN.append(("before_forward", stage.epoch))


def _listener(point):
    def listen(self, stage):
        SEEN.append((point, stage.epoch))
    return listen


for _point in POINTS:
    if _point != "before_forward":
        setattr(Recorder, _point, _listener(_point))


@METERS.register_module()
class Highest:
    PRODUCES = ("highest",)

    def __init__(self):
        self.reset()

    def update(self, scores):
        self.value = max(self.value, float(scores.max()))

    def compute(self):
        return {"highest": self.value}

    def reset(self):
        self.value = float("-inf")

    def merge(self, states):
        self.value = max(state["value"] for state in states)

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """18 pictures to train on, 9 to evaluate, in the working directory; nothing registered yet."""
    for registry in (HOOKS, METERS):
        monkeypatch.setattr(registry, "_added", {})
        monkeypatch.setattr(registry, "_objects", {})
    return enter_project(tmp_path, monkeypatch, own=OWN)


def train(*overrides: str) -> Any:
    return cvtrainer.train("apps/toy/train.yaml", overrides=["dir=run", *overrides])


def own() -> Any:
    import importlib

    return importlib.import_module("apps.toy.own")


def phases_logged() -> list[tuple[str, int]]:
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [(one["phase"], one["step"]) for one in records]


@pytest.mark.seed("S1-30")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (StageSettings(), [8, 16]),
        (StageSettings(eval_epochs=0.5), [4, 8, 12, 16]),
        (StageSettings(eval_epochs=0.3), [3, 5, 8, 11, 13, 16]),
        (StageSettings(eval_epochs=2), [16]),
        (StageSettings(eval_epochs=None, eval_steps=3), [3, 6, 9, 12, 15]),
        (StageSettings(eval_epochs=None), []),
    ],
)
def test_how_often_is_evaluated(settings: StageSettings, expected: list[int]) -> None:
    class At(BaseHook):
        def after_eval(self, stage: Any) -> None:
            found.append(stage.clock.batches)

    found: list[int] = []
    toy_trainer([At()], train=batches(8), settings=settings).train(2)
    assert found == expected


@pytest.mark.seed("S1-30")
def test_a_config_evaluates_twice_per_epoch(toy: Path) -> None:
    train("epochs=1", "eval_every=0.5", "dataloader.train.dataloader_args.batch_size=3")
    assert [step for phase, step in phases_logged() if phase == "val"] == [3, 6]


@pytest.mark.seed("S2-86", "S4-30", "S4-32", "S1-47")
def test_sizes_of_batches_and_workers(toy: Path) -> None:
    words = ["train.dataloader_args.batch_size=8", "val.dataloader_args.batch_size=5"]
    words.append("train.dataloader_args.num_workers=2")
    result = train(
        "epochs=1",
        *(f"dataloader.{word}" for word in words),
        "hooks=[apps.toy.own.Recorder, {type: accumulate, steps: 2}]",
    )
    assert own().SIZES == {"train": [8, 8, 2], "val": [5, 4]}
    resolved = yaml.safe_load((result.run / "config.yaml").read_text())
    assert resolved["stages"][0]["hooks"][1]["kwargs"] == {"steps": 2}
    assert [step for phase, step in phases_logged() if phase == "train"][-1] == 2


@pytest.mark.seed("S2-87", "S2-105")
def test_a_run_is_as_long_as_its_steps(toy: Path) -> None:
    """Ten steps over a set of three batches: each epoch is shuffled anew."""
    result = train(
        "epochs=null",
        "max_steps=10",
        "dataloader.train.dataloader_args.batch_size=6",
        "hooks=[apps.toy.own.Recorder]",
    )
    seen = own().SEEN
    assert sum(point == "after_optimize" for point, _ in seen) == 10
    assert {epoch for point, epoch in seen if point == "before_epoch"} == {1, 2, 3, 4}
    state = cvtrainer.load(result.run)
    assert state.classes is not None


@pytest.mark.seed("S3-49", "S3-50")
def test_a_hook_of_ones_own_sees_every_point_in_order(toy: Path) -> None:
    train("epochs=1", "hooks=[apps.toy.own.Recorder, {type: CheckpointHook, save_freq: 1}]")
    points = [point for point, _ in own().SEEN]
    assert set(points) == set(POINTS)
    step = ["before_step", "before_forward", "after_forward", "before_backward", "after_backward"]
    step += ["before_optimize", "after_optimize", "after_step"]
    assert points[:10] == ["before_train", "before_epoch", *step]
    assert points.index("after_epoch") < points.index("before_eval") < points.index("after_eval")
    assert points[-1] in ("after_train", "after_save")


@pytest.mark.seed("S3-51", "S3-52", "S3-53", "S3-55", "S3-56")
def test_meters_by_name_with_binds_and_phases(toy: Path) -> None:
    meters = (
        "meters=[loss, {name: best, type: accuracy, topk: [1, 2], phases: [val]}, "
        "{name: high, type: apps.toy.own.Highest, bind: {scores: output}, phases: [train, val]}]"
    )
    metrics = train("epochs=1", meters, "hooks=[]").metrics["train"]
    assert {"val/accuracy", "val/accuracy_top2", "train/highest", "val/highest"} <= set(metrics)
    assert not any(name.startswith("train/accuracy") for name in metrics)
    assert metrics["val/accuracy"] <= metrics["val/accuracy_top2"]


@pytest.mark.seed("S1-50", "S1-52")
def test_flags_win_over_files_and_the_saved_config_says_so(toy: Path, tmp_path: Path) -> None:
    first = train("epochs=1", "optimizer.lr=0.003", "seed=7")
    saved = first.run / "config.yaml"
    resolved = yaml.safe_load(saved.read_text())
    assert resolved["stages"][0]["optimizer"]["kwargs"]["lr"] == 0.003
    assert resolved["seed"] == 7
    assert resolved["stages"][0]["max_steps"] is None, "a default"
    again = cvtrainer.train(saved, run_dir=tmp_path / "again")
    assert again.metrics == first.metrics
