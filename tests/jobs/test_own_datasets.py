"""Data sets that users write, of the shapes that they are used to, trained from a config."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

import cvtrainer
from cvtrainer.core.errors import ConfigErrors, UserError
from tests.project import write_project

DATASETS = '''
"""Three data sets of a user."""

from pathlib import Path

import numpy as np
from PIL import Image


class Labelled:
    """Returns `image` and `label`, side by side."""

    def __init__(self, data_path: str, my_data_param: int = 1) -> None:
        self.files = sorted(Path(data_path).rglob("*.png"))
        self.my_data_param = my_data_param

    def __len__(self) -> int:
        return len(self.files) // self.my_data_param

    def __getitem__(self, index):
        file = self.files[index]
        return {"image": Image.open(file), "label": int(file.parent.name[-1])}


class Arrays:
    """Returns `input_data` and `target_data`."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index):
        picture = np.full((3, 12, 12), index / 10, dtype=np.float32)
        return {"input_data": picture, "target_data": index % 3}
'''


def project(root: Path, monkeypatch: pytest.MonkeyPatch, dataset: dict[str, Any]) -> Path:
    config = write_project(root)
    (config.parent / "sets.py").write_text(dedent(DATASETS))
    monkeypatch.chdir(root)
    tree = yaml.safe_load(config.read_text())
    (stage,) = tree["stages"]
    stage.update(epochs=1, hooks=[])
    mapping = {"image": {"type": "ImageTensorizer"}, "label": {"type": "IndexTensorizer"}}
    for phase, block in stage["dataloader"].items():
        block["dataset"] = {**dataset}
        if "data_path" in dataset:
            block["dataset"]["data_path"] = f"data/{phase}"
        block["tensorizer"] = {"type": "Tensorizer", "mapping": mapping}
    config.write_text(yaml.safe_dump(tree, sort_keys=False))
    return config


def alter(config: Path, **words: Any) -> None:
    """Change both splits."""
    tree = yaml.safe_load(config.read_text())
    for block in tree["stages"][0]["dataloader"].values():
        block.update(words)
    config.write_text(yaml.safe_dump(tree, sort_keys=False))


@pytest.mark.seed("S1-14", "S1-75", "S2-43")
def test_image_and_label_with_own_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`data_path` and further arguments of the config arrive in the constructor."""
    words = {"type": "apps.toy.sets.Labelled", "data_path": "", "my_data_param": 2}
    config = project(tmp_path, monkeypatch, words)
    result = cvtrainer.train(config)
    assert set(result.metrics["train"]) >= {"train/loss", "val/loss", "val/accuracy"}
    log = (result.run / "train.log").read_text()
    assert "samples: train 9, val 4" in log


@pytest.mark.seed("S2-43")
def test_an_argument_by_another_name_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"type": "apps.toy.sets.Labelled", "data_path": "", "my_param": 2}
    config = project(tmp_path, monkeypatch, words)
    with pytest.raises(ConfigErrors, match=r"my_param: Labelled takes no such argument.*my_data_p"):
        cvtrainer.train(config)


@pytest.mark.seed("S2-44")
def test_input_data_and_target_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = project(tmp_path, monkeypatch, {"type": "apps.toy.sets.Arrays"})
    alter(config, tensorizer=None, transforms=None)
    result = cvtrainer.train(config)
    assert result.metrics["train"]["val/loss"] > 0


@pytest.mark.seed("S2-51")
def test_an_empty_list_of_transforms_is_legal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project(tmp_path, monkeypatch, {"type": "apps.toy.sets.Labelled", "data_path": ""})
    alter(config, transforms=[])
    assert cvtrainer.train(config).metrics["train"]["val/loss"] > 0


@pytest.mark.seed("S2-67")
def test_validation_uses_its_own_transforms_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a training transform that cannot work, validation data is still made."""
    config = project(tmp_path, monkeypatch, {"type": "apps.toy.sets.Labelled", "data_path": ""})
    tree = yaml.safe_load(config.read_text())
    train = tree["stages"][0]["dataloader"]["train"]
    train["transforms"]["transforms"] = [{"type": "RandomCrop", "height": 99, "width": 99}]
    config.write_text(yaml.safe_dump(tree, sort_keys=False))
    with pytest.raises(UserError, match="99"):
        cvtrainer.train(config)
    train["transforms"]["transforms"] = [{"type": "RandomResizedCrop", "height": 8, "width": 8}]
    config.write_text(yaml.safe_dump(tree, sort_keys=False))
    shapes = sizes_by_phase(config)
    assert shapes == {"train": (8, 8), "val": (12, 12)}


def sizes_by_phase(config: Path) -> dict[str, tuple[int, ...]]:
    from cvtrainer.core.compile import compile_config
    from cvtrainer.ddp.world import World
    from cvtrainer.experiment import Experiment, Surroundings

    stage = compile_config(config).resolved["stages"][0]
    streams = Experiment(config).data.streams(stage, Surroundings(run=None, world=World()))
    return {
        phase: tuple(next(iter(stream.epoch(1)))["image"].shape[-2:])
        for phase, stream in streams.items()
    }
