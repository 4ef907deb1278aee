"""A config's `dataloader` block as streams: defaults, a user's own data set, and its collate."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import ImageFolder
from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.world import World
from cvtrainer.experiment import Experiment, Surroundings
from tests.project import change, write_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project; the working directory is its root."""
    monkeypatch.chdir(tmp_path)
    return write_project(tmp_path)


def streams_of(config: Path) -> dict[str, LoaderStream]:
    """The streams that the first stage of a config describes."""
    stage = compile_config(config).resolved["stages"][0]
    return Experiment(config).data.streams(stage, Surroundings(run=None, world=World()))


def edit(config: Path, alter: Any) -> None:
    """Rewrite the config's `dataloader` block."""
    tree = yaml.safe_load(config.read_text())
    alter(tree["stages"][0]["dataloader"])
    config.write_text(yaml.safe_dump(tree))


@pytest.mark.seed("S0-28", "S0-29", "S0-45")
def test_both_blocks_become_streams_over_image_folders(project: Path) -> None:
    edit(project, lambda block: block["train"]["dataloader_args"].update(num_workers=4))
    streams = streams_of(project)
    assert list(streams) == ["train", "val"]
    for stream in streams.values():
        assert isinstance(stream.dataset, ImageFolder)
        assert list(stream.dataset.classes) == ["class_0", "class_1", "class_2"]
    assert streams["train"].options.num_workers == 4
    assert streams["val"].options.num_workers == 0
    batch = next(iter(streams["val"].epoch(1)))
    assert batch["x"].shape == (4, 3, 12, 12)
    assert batch["target"]["class_id"].tolist() == [0, 0, 0, 1]


@pytest.mark.seed("S0-28")
def test_no_val_block_means_no_evaluation(project: Path) -> None:
    change(project, hooks=[])
    edit(project, lambda block: block.pop("val"))
    assert list(streams_of(project)) == ["train"]


def test_training_binds_the_numbers_of_validation(project: Path) -> None:
    (project.parents[2] / "data" / "val" / "class_0").rename(project.parents[2] / "spare")
    batch = next(iter(streams_of(project)["val"].epoch(1)))
    assert batch["target"]["class_id"].tolist() == [1, 1, 1, 2]


@pytest.mark.seed("S0-30", "S0-47")
def test_an_own_data_set_and_an_own_collate_are_imported(project: Path) -> None:
    (project.parent / "pictures.py").write_text(
        dedent(
            """
            import numpy as np
            from cvtrainer.data import DataAdapter


            class Stripes(DataAdapter):
                def __init__(self, count, *, split="train"):
                    self.count = count

                def __len__(self):
                    return self.count

                def _load_sample(self, idx):
                    return {"x": np.zeros((9, 9, 3), np.uint8), "target": {"class_id": idx % 3}}


            def first_only(samples):
                return {"kept": samples[0]["x"], "meta": samples[0]["meta"]}
            """
        )
    )
    dataset = {"type": "apps.toy.pictures.Stripes", "args": {"count": 10}}

    def own(block: Any) -> None:
        block["train"]["dataset"] = dataset
        words = {"drop_last": True, "collate_fn": "apps.toy.pictures.first_only"}
        block["train"]["dataloader_args"].update(words)

    edit(project, own)
    stream = streams_of(project)["train"]
    assert type(stream.dataset).__name__ == "Stripes"
    assert len(stream) == 2
    assert [batch["kept"].shape for batch in stream.epoch(1)] == [(3, 12, 12)] * 2


def test_one_folder_is_divided_by_ratio(project: Path) -> None:
    """Both splits read the same folder; no sample is in both, classes in the same proportion."""

    def divide(blocks: Any) -> None:
        for name in ("train", "val"):
            blocks[name]["dataset"] = {"data_path": "data/train"}
            blocks[name]["split"] = {"ratio": {"train": 0.5, "val": 0.5}}

    edit(project, divide)
    found = streams_of(project)
    files = {
        phase: {path for batch in stream.epoch(1) for path in batch["meta"]["path"]}
        for phase, stream in found.items()
    }
    assert len(files["train"]) == len(files["val"]) == 9
    assert not files["train"] & files["val"]


def write_packed(file: Path, folder: Path) -> None:
    """The pictures of class folders as samples of a packed archive."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as archive:
        for number, picture in enumerate(sorted(folder.rglob("*.png"))):
            label = picture.parent.name[-1].encode()
            for ending, data in (("png", picture.read_bytes()), ("cls", label)):
                member = tarfile.TarInfo(f"{number:03}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def test_packed_archives_are_trained_from_a_config(project: Path) -> None:
    """They are detected and read in order; what needs a sample by number is refused."""

    def archives(blocks: Any) -> None:
        for name in ("train", "val"):
            write_packed(Path(f"tars/{name}/0.tar.gz"), Path("data") / name)
            blocks[name]["dataset"] = {"data_path": f"tars/{name}"}

    edit(project, archives)
    result = cvtrainer.train(project)
    assert result.metrics["train"]["val/accuracy"] > 0.5
    log = (result.run / "train.log").read_text()
    assert "is read as tar_stream" in log
    assert "samples: train 18, val 9" in log
    edit(project, lambda blocks: blocks["train"].update(sampler="balanced"))
    with pytest.raises(UserError, match=r"train\.sampler: sampler needs samples by number"):
        cvtrainer.train(project)
