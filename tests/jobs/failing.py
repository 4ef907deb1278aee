"""Runs that fail on purpose at a known place, as whole projects on disk."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import yaml

from cvtrainer import train

PARTS = '''
"""Layers that go wrong in one way each, when a batch holds the sample they wait for."""

import torch
from torch import nn

from cvtrainer.hooks import BaseHook


class Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 0.0


class Trap(nn.Module):
    """Waits for the batch that holds the sample whose first value is 7."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.rows = None
        self.idle = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        if self.way == "optimizer":
            return x + self.idle * 0.0
        if not self.training or not bool(self.rows.any()):
            return x
        if self.way == "forward":
            return torch.where(self.rows, x * 1e38 * 1e3, x)
        if self.way == "backward":
            return Root.apply(x)
        if self.way == "error":
            raise RuntimeError("the user's own error")
        return x


class Net(nn.Module):
    def __init__(self, way: str = "none") -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.trap = Trap(way)
        self.backbone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        mask = torch.full((3,), float("-inf"), device=x.device)
        self.trap.rows = x[:, :1] > 6.5
        seen = self.head(self.dropout(self.backbone(self.trap(self.stem(x)))))
        return torch.maximum(seen, mask)


class Spill(BaseHook):
    """Puts NaN into the rows of one sample, as a broken device step would."""

    def __init__(self, sample: int) -> None:
        self.sample = sample

    def before_forward(self, stage):
        batch = stage["batch"]
        if stage.phase == "train" and self.sample in list(batch["meta"]["index"]):
            row = list(batch["meta"]["index"]).index(self.sample)
            x = batch["x"].clone()
            x[row, 2] = float("nan")
            stage["batch"] = {**batch, "x": x}
'''

CONFIG: dict[str, Any] = {
    "stages": [
        {
            "name": "train",
            "epochs": 2,
            "model": {"type": "apps/toy/parts.py:Net", "kwargs": {"way": "none"}},
            "criterion": "cvtrainer.loss.CrossEntropyLoss",
            "optimizer": {"type": "SGD", "kwargs": {"lr": 0.01}},
            "dataloader": {
                "train": {
                    "dataset": {"type": "array_file", "data_path": "data.npz"},
                    "dataloader_args": {"batch_size": 4, "shuffle": True},
                }
            },
            "logger": ["console"],
            "hooks": [
                {"type": "nan_guard"},
                {"type": "checkpoint", "kwargs": {"save_freq": 0, "save_steps": 4}},
            ],
        }
    ]
}

SAMPLES = 40
TRAP = 17


def write_failing(
    root: Path, way: str = "none", *, nan_at: int | None = None, **stage: Any
) -> Path:
    """A project whose one odd sample springs the trap; returns the config's path."""
    app = root / "apps" / "toy"
    app.mkdir(parents=True)
    (app / "parts.py").write_text(dedent(PARTS))
    draw = np.random.default_rng(0)
    x = draw.normal(size=(SAMPLES, 4)).astype(np.float32)
    x[TRAP, 0] = 7.0
    np.savez(root / "data.npz", x=x, y=draw.integers(0, 3, SAMPLES))
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    config["stages"][0]["model"]["kwargs"]["way"] = way
    config["stages"][0].update(stage)
    path = app / "train.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def failed_run(root: Path, config: Path) -> tuple[Path, str]:
    """Train in this process until it fails; the run folder and what was told."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (any of them)
        train(str(config))
    (run,) = (root / "runs").glob("*/*_*")
    return run, str(caught.value)
