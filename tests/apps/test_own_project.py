"""A user's own project: two files under apps/ are enough, and nothing else is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
import yaml

from tests.project import CONFIG, MODEL, cvtrainer, write_pictures, write_project

PARTS = '''
"""Everything that a project may bring: a data set, a hook, a meter."""

import numpy as np
import torch

from cvtrainer.data.datasets import DataAdapter
from cvtrainer.hooks.base import BaseHook


class Stripes(DataAdapter):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def _load_sample(self, idx: int) -> dict:
        image = np.zeros((12, 12, 3), np.uint8)
        image[:: 2 + idx % 3] = 255
        return {"x": image, "target": {"class_id": idx % 3}}


class CountSteps(BaseHook):
    def after_step(self, stage):
        if stage.phase == "train":
            count = stage["context"].get("counted", 0) + 1
            stage["context"].set("counted", count)

    def after_train(self, stage):
        stage.trainer.say(f"counted {stage['context'].get('counted')} steps")


class Brightest:
    PRODUCES = ("brightest",)

    def __init__(self) -> None:
        self.value = torch.zeros(())

    def update(self, x: torch.Tensor) -> None:
        self.value = torch.maximum(self.value, x.max())

    def compute(self) -> dict[str, float]:
        return {"brightest": float(self.value)}

    def reset(self) -> None:
        self.value = torch.zeros(())

    def merge(self, states) -> None:
        self.value = torch.stack([state["value"] for state in states]).max()

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state) -> None:
        self.value = state["value"]
'''


def own_parts(root: Path) -> Path:
    """A project whose model, data set, hook and meter are all its own."""
    app = root / "apps" / "own"
    app.mkdir(parents=True)
    (app / "model.py").write_text(dedent(MODEL))
    (app / "parts.py").write_text(PARTS)
    config = yaml.safe_load(CONFIG)
    stage = config["stages"][0]
    stage["model"] = "apps.own.model.TinyNet"
    stage["hooks"].append({"type": "apps.own.parts.CountSteps"})
    stage["meters"].append({"type": "apps.own.parts.Brightest"})
    for split, count in (("train", 9), ("val", 6)):
        data = {"type": "apps.own.parts.Stripes", "args": {"count": count}}
        stage["dataloader"][split]["dataset"] = data
    (app / "train.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return app / "train.yaml"


@pytest.mark.seed("S0-30", "S0-111")
def test_own_model_data_set_hook_and_meter(tmp_path: Path) -> None:
    """All four come from the project's folder, and each leaves its trace."""
    own_parts(tmp_path)
    done = cvtrainer("train", "--config", "apps/own/train.yaml", "epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "counted 6 steps" in done.stdout + done.stderr
    assert "val/brightest" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apps", "runs"]


@pytest.mark.seed("S0-110")
def test_a_folder_with_two_files_is_a_project(tmp_path: Path) -> None:
    """`mkdir -p apps/x`, a model and a config; logs and checkpoints go into it on request."""
    write_project(tmp_path, name="toy")
    app = tmp_path / "apps" / "toy"
    assert sorted(path.name for path in app.iterdir()) == ["model.py", "train.yaml"]
    done = cvtrainer(
        *("train", "--config", "apps/toy/train.yaml", "epochs=1"),
        "hooks.checkpoint.save_dir=apps/toy/checkpoints",
        "logger=[console, {type: file, kwargs: {log_dir: apps/toy/logs}}]",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (app / "checkpoints" / "best_model.pth").is_file()
    assert (app / "logs" / "train.log").read_text()


@pytest.mark.seed("S0-14")
@pytest.mark.parametrize(
    ("place", "config"),
    [
        (".", "apps/toy/train.yaml"),
        (".", "toy/train.yaml"),
        ("apps", "toy/train.yaml"),
        ("apps/toy", "toy/train.yaml"),
        ("apps/toy", "train.yaml"),
    ],
)
def test_a_config_is_found_from_three_places(tmp_path: Path, place: str, config: str) -> None:
    """From the root, from apps/ and from inside the project, with the model it names."""
    write_project(tmp_path)
    for split in ("train", "val"):
        write_pictures(tmp_path / place / "data" / split, per_class=2)
    done = cvtrainer("train", "--config", config, "epochs=1", cwd=tmp_path / place)
    assert done.returncode == 0, done.stderr


@pytest.mark.seed("S0-15")
def test_paths_in_a_config_count_from_the_working_folder(tmp_path: Path) -> None:
    """The same config from two folders: data is read and files are written in each of them."""
    config = write_project(tmp_path)
    for name in ("here", "there"):
        folder = tmp_path / name
        write_pictures(folder / "data" / "train", per_class=2)
        write_pictures(folder / "data" / "val", per_class=2)
        done = cvtrainer(
            *("train", "--config", str(config), "epochs=1"),
            *("hooks.checkpoint.save_dir=./checkpoints", "logger=[{type: file, log_dir: ./logs}]"),
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr
        assert (folder / "checkpoints" / "best_model.pth").is_file()
        assert (folder / "logs" / "train.log").is_file()
        assert (folder / "runs").is_dir()
    assert not (config.parent / "checkpoints").exists()


@pytest.mark.long
@pytest.mark.seed("S0-112")
def test_the_config_of_document_000_runs_as_written(tmp_path: Path) -> None:
    """Only data folders and the model are supplied; the epochs are cut on the command line."""
    source = Path(__file__).parents[1] / "fixtures" / "document_000" / "apps"
    subprocess.run(["cp", "-r", str(source), str(tmp_path)], check=True)
    write_pictures(tmp_path / "data" / "train", classes=101, per_class=1, side=24)
    write_pictures(tmp_path / "data" / "val", classes=101, per_class=1, side=24)
    config = "apps/my_project/train.yaml"
    done = cvtrainer("train", "--config", config, "epochs=1", cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "val/accuracy" in done.stdout
    assert "loss" in (tmp_path / "logs" / "train.log").read_text()
    assert list((tmp_path / "runs").glob("events.out.tfevents.*"))
    best = torch.load(tmp_path / "checkpoints" / "best_model.pth", weights_only=True)
    assert best["networks"]["model"]["head.weight"].shape[0] == 101
    assert {"lr_scheduler", "ema", "checkpoint"} <= set(best["hooks"])

    again = [sys.executable, "-m", "cvtrainer.cli", "train", "--config", config]
    again += ["--resume", "checkpoints/best_model.pth", "epochs=2", "hooks.checkpoint.save_freq=1"]
    more = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert more.returncode == 0, more.stderr
    assert (tmp_path / "checkpoints" / "checkpoint_epoch_2.pth").is_file()
