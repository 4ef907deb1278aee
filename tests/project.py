"""A user's project on disk: a model, pictures and a config, as small as a real one can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import yaml
from PIL import Image

MODEL = '''
"""A tiny network with everything that moves: BatchNorm buffers and dropout."""

from torch import nn


class TinyNet(nn.Module):
    def __init__(self, num_classes: int = 3, width: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.adapter = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, x):
        return self.head(self.adapter(self.backbone(x)))
'''

CONFIG = """
stages:
  - name: train
    epochs: 3
    model: apps.toy.model.TinyNet
    model_args: {num_classes: 3}
    criterion: cvtrainer.loss.CrossEntropyLoss
    optimizer: {type: AdamW, kwargs: {lr: 0.01}}
    dataloader:
      train:
        dataset: {data_path: data/train}
        transforms:
          backend: Albumentations
          transforms:
            - {type: RandomResizedCrop, kwargs: {height: 12, width: 12}}
            - {type: HorizontalFlip, kwargs: {p: 0.5}}
        tensorizer:
          type: cvtrainer.data.tensorizer.Tensorizer
          mapping:
            x: {type: cvtrainer.data.tensorizer.ImageTensorizer, kwargs: {normalize: imagenet}}
            class_id: {type: cvtrainer.data.tensorizer.IndexTensorizer}
        dataloader_args: {batch_size: 4, shuffle: true}
      val:
        dataset: {data_path: data/val}
        transforms:
          backend: Albumentations
          transforms:
            - {type: Resize, kwargs: {height: 12, width: 12}}
        tensorizer:
          type: cvtrainer.data.tensorizer.Tensorizer
          mapping:
            x: {type: cvtrainer.data.tensorizer.ImageTensorizer, kwargs: {normalize: imagenet}}
            class_id: {type: cvtrainer.data.tensorizer.IndexTensorizer}
        dataloader_args: {batch_size: 4, shuffle: false}
    logger: [console]
    hooks:
      - {type: EMAHook, kwargs: {decay: 0.9}}
      - type: LRSchedulerHook
        kwargs: {scheduler_type: CosineAnnealingLR, scheduler_kwargs: {T_max: 3}}
      - type: CheckpointHook
        kwargs: {save_freq: 1, save_best: true, metric_name: val_accuracy}
    meters: [LossMeter, {type: AccuracyMeter, kwargs: {topk: [1, 5]}}]
"""


def write_pictures(folder: Path, *, classes: int = 3, per_class: int = 6, side: int = 16) -> None:
    """Class folders of small PNG files; each class has its own tint, so it can be learned."""
    draw = np.random.default_rng(0)
    for label in range(classes):
        place = folder / f"class_{label}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            pixels = draw.integers(0, 160, (side, side, 3), dtype=np.uint8)
            pixels[..., label % 3] += np.uint8(90)
            Image.fromarray(pixels).save(place / f"{number}.png")


def write_project(root: Path, config: str = CONFIG, *, name: str = "toy") -> Path:
    """The project `apps/<name>` with its data under `root`; returns the config's path."""
    app = root / "apps" / name
    app.mkdir(parents=True)
    (app / "model.py").write_text(dedent(MODEL))
    write_pictures(root / "data" / "train")
    write_pictures(root / "data" / "val", per_class=3)
    (app / "train.yaml").write_text(config)
    return app / "train.yaml"


def change(config: Path, **stage: object) -> None:
    """Set keys of the first stage in the file."""
    tree = yaml.safe_load(config.read_text())
    tree["stages"][0].update(stage)
    config.write_text(yaml.safe_dump(tree, sort_keys=False))


def cvtrainer(*words: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line in another process."""
    return subprocess.run(
        [sys.executable, "-m", "cvtrainer.cli", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def enter_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Path:
    """Such a project as the working directory, with files beside its config; its config."""
    config = write_project(tmp_path)
    for name, text in files.items():
        (config.parent / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "apps"]:
        monkeypatch.delitem(sys.modules, name)
    return config
