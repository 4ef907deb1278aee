"""Every kind of part may come from a project's own file, by its path and by a registered name.

Nothing is changed outside of the project's folder; each part leaves a trace in what the run says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtrainer.cli import main
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import write_pictures

PARTS = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cvtrainer.core.catalog import (
    DATASETS, HOOKS, LOGGERS, LOSSES, METERS, MODELS, OPTIMIZERS, SCHEDULERS, TASKS, TRANSFORMS,
)
from cvtrainer.data.datasets import DataAdapter
from cvtrainer.hooks.base import BaseHook
from cvtrainer.tasks import Classification


@MODELS.register(name="own_model")
class OwnModel(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.stem(x).relu().mean((2, 3)))


@LOSSES.register(name="own_loss")
class OwnLoss(nn.Module):
    def forward(self, output, target):
        return {"half": functional.cross_entropy(output, target) / 2}


@DATASETS.register(name="own_dataset")
class OwnDataset(DataAdapter):
    classes = {"red": 0, "green": 1, "blue": 2}

    def __init__(self, count: int):
        self.count = count

    def __len__(self):
        return self.count

    def _load_sample(self, idx):
        image = np.zeros((16, 16, 3), np.uint8)
        image[..., idx % 3] = 200
        return {"x": image, "target": {"class_id": idx % 3}}


@METERS.register(name="own_meter")
class OwnMeter:
    PRODUCES = ("darkest",)

    def __init__(self):
        self.value = torch.full((), torch.inf)

    def update(self, x):
        self.value = torch.minimum(self.value, x.amin())

    def compute(self):
        return {"darkest": float(self.value)}

    def reset(self):
        self.value = torch.full((), torch.inf)

    def merge(self, states):
        self.value = torch.stack([state["value"] for state in states]).amin()

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@HOOKS.register(name="own_hook")
class OwnHook(BaseHook):
    def __init__(self, word: str = "steps"):
        self.word, self.count = word, 0

    def after_step(self, stage):
        self.count += stage["phase"] == "train"

    def after_train(self, stage):
        stage["trainer"].say(f"own hook: {self.count} {self.word}")

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


@TASKS.register(name="own_task")
class OwnTask(Classification):
    def describe(self, outputs, place, classes):
        return {"colour": super().describe(outputs, place, classes)["class"]}


@OPTIMIZERS.register(name="own_optimizer")
class OwnOptimizer(torch.optim.SGD):
    def __init__(self, params, lr: float, extra: float = 1.0):
        super().__init__(params, lr=lr * extra, momentum=0.9)


@SCHEDULERS.register(name="own_schedule")
class OwnSchedule(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, drop: float):
        self.drop = drop
        super().__init__(optimizer)

    def get_lr(self):
        return [base * self.drop**self.last_epoch for base in self.base_lrs]


@TRANSFORMS.register(name="own_transform")
class OwnTransform:
    thread_safe = True

    def __init__(self, add: int):
        self.add = add

    def __call__(self, sample):
        return {**sample, "x": sample["x"] + np.uint8(self.add)}


@LOGGERS.register(name="own_logger")
class OwnLogger:
    def __init__(self, file: str = "own.txt"):
        self.file = file

    def open(self, run, resume_step, stage="train"):
        self.place = open(self.file, "a")

    def write(self, record):
        print(record.phase, record.epoch, sorted(record.values), file=self.place)

    def message(self, text):
        print(text, file=self.place)

    def close(self):
        self.place.close()
"""


def config_of(part: Any) -> dict[str, Any]:
    block = {
        "dataset": {"type": part("Dataset"), "kwargs": {"count": 9}},
        "transforms": [{"type": part("Transform"), "kwargs": {"add": 40}}],
        "tensorizer": {
            "type": "tensorizer",
            "mapping": {"x": {"type": "image", "normalize": None}, "class_id": "index"},
        },
        "dataloader_args": {"batch_size": 3},
    }
    schedule = {"scheduler_type": part("Schedule"), "scheduler_kwargs": {"drop": 0.5}}
    stage = {
        "epochs": 2,
        "model": {"type": part("Model"), "kwargs": {"width": 6}},
        "criterion": part("Loss"),
        "task": {"type": part("Task"), "top": 2},
        "optimizer": {"type": part("Optimizer"), "kwargs": {"lr": 0.1, "extra": 2.0}},
        "dataloader": {"train": block, "val": block},
        "logger": [{"type": part("Logger"), "kwargs": {"file": "own.txt"}}],
        "hooks": [
            {"type": part("Hook"), "kwargs": {"word": "batches"}, "name": "counting"},
            {"type": "lr_scheduler", "kwargs": schedule},
            {"type": "checkpoint", "kwargs": {"save_freq": 1}},
        ],
        "meters": ["loss", "accuracy", part("Meter")],
    }
    return {"project": "own", "stages": [stage]}


def by_path(kind: str) -> str:
    return f"apps.own.parts.Own{kind}"


def by_name(kind: str) -> str:
    return f"own_{kind.lower()}"


@pytest.mark.seed("S0-30", "S2-25", "S2-26", "S2-27")
@pytest.mark.parametrize("part", [by_path, by_name])
def test_every_kind_of_part_is_trained_measured_resumed_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "apps" / "own"
    folder.mkdir(parents=True)
    (folder / "parts.py").write_text(PARTS)
    (folder / "train.yaml").write_text(yaml.safe_dump(config_of(part)))
    write_pictures(tmp_path / "pictures", classes=1, per_class=2)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "apps"]:
        monkeypatch.delitem(sys.modules, name)
    words = ["train", "--config", "apps/own/train.yaml", "dir=run"]
    assert main(words) == 0, capsys.readouterr().err

    said = Path("own.txt").read_text()
    assert "own hook: 6 batches" in said
    assert "val 2 [" in said
    metrics = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    last = {key: value for line in metrics for key, value in line.items()}
    assert last["val/darkest"] == pytest.approx(40 / 255)
    assert "val/loss_half" in last or "val/half" in last
    state = read_checkpoint(Path("run/checkpoints/checkpoint_epoch_2.pth"))
    assert state["hooks"]["counting"] == {"count": 6}
    assert state["optimizers"]["main"]["param_groups"][0]["lr"] == pytest.approx(0.05)

    assert main([*words, "--resume", "auto", "epochs=3"]) == 0
    assert "own hook: 9 batches" in Path("own.txt").read_text()
    checkpoint = "run/checkpoints/checkpoint_epoch_3.pth"
    capsys.readouterr()
    assert main(["eval", "--config", "apps/own/train.yaml", "--checkpoint", checkpoint]) == 0
    assert "val/darkest" in capsys.readouterr().out
    assert main(["predict", "--run", "run", "pictures"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.strip().splitlines()]
    assert len(lines) == 2
    assert all(line["colour"] in ("red", "green", "blue") for line in lines)


@pytest.mark.seed("S2-27")
def test_a_registered_name_nobody_can_see_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file elsewhere is not read; the line says which name, and where it would be looked for."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "parts.py").write_text(PARTS.replace("own_", "faraway_"))
    config = config_of(lambda kind: f"faraway_{kind.lower()}")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    assert main(["config", "check", "train.yaml"]) == 2
    told = capsys.readouterr()
    line = next(one for one in (told.out + told.err).splitlines() if "faraway_model" in one)
    assert "there is no model called 'faraway_model'" in line
    assert "scan" in line
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**config, "scan": ["elsewhere"]}))
    assert main(["config", "check", "train.yaml"]) == 0
