"""`cvtrainer data …` as it is called: configs, paths, exit codes, files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtrainer.cli import main
from tests.data.doctor.worlds import (
    plant_in_coco,
    plant_in_folders,
    save,
    texture,
    write_coco,
    write_folders,
    write_sounds,
    write_table,
    write_texts,
)

CONFIG = """
seed: 4
dataloader:
  train:
    dataset: {type: image_folder, kwargs: {data_path: train}}
    transforms:
      backend: albumentations
      transforms:
        - {type: RandomResizedCrop, kwargs: {height: 64, width: 64}}
        - {type: HorizontalFlip, kwargs: {p: 0.5}}
  val:
    dataset: {type: image_folder, kwargs: {data_path: val}}
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clean class folders and a config for them, in the working folder."""
    write_folders(tmp_path)
    (tmp_path / "a.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command says as JSON."""
    main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_stats_of_a_config_and_of_a_path(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both see the same splits; a phase or an override narrows or changes them."""
    by_config = told(capsys, "data", "stats", "--config", "a.yaml")
    (folders / "a.yaml").unlink()
    by_path = told(capsys, "data", "stats", ".")
    assert [one["samples"] for one in by_config] == [one["samples"] for one in by_path] == [36, 36]
    assert [one["split"] for one in by_path] == ["train", "val"]
    assert [one["split"] for one in told(capsys, "data", "stats", ".", "--phase", "val")] == ["val"]
    assert main(["data", "stats", "."]) == 0
    text = capsys.readouterr().out
    assert "猫" in text
    assert "128 .. 128 .. 128" in text


def test_a_stage_of_its_name(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stages are found by their names; what is not there is said."""
    (folders / "b.yaml").write_text(
        "stages:\n- name: one\n  dataloader: {train: {dataset: {data_path: train}}}\n"
        "- name: two\n  dataloader: {val: {dataset: {data_path: val}}}\n"
    )
    found = told(capsys, "data", "stats", "--config", "b.yaml", "--stage", "two")
    assert [one["split"] for one in found] == ["val"]
    assert main(["data", "stats", "--config", "b.yaml", "--stage", "three"]) == 2
    assert "There is one, two" in capsys.readouterr().err
    assert main(["data", "stats", "--config", "b.yaml", "--phase", "val"]) == 2
    assert "no split 'val'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which data?"),
        (["nowhere"], "no such file or folder"),
        (["train", "--config", "a.yaml"], "beside a config"),
        (["--config", "a.yaml", "--type", "coco"], "go with a path"),
        (["train", "epochs=3"], "without a config"),
        (["train", "--type", "cocoo"], "--type"),
        (["train", "--type", "coco", "--set", "nonsense"], "not name=value"),
        (["train", "--type", "image_folder", "--set", "colour=red"], "takes no argument 'colour'"),
        (["train", "val"], "one path at a time"),
    ],
)
def test_wrong_calls(
    words: list[str], said: str, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, exit code 2."""
    assert main(["data", "stats", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_doctor_exit_codes_and_reports(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 clean, 1 with errors, and with --strict 1 with warnings; reports and plans are files."""
    assert main(["data", "doctor", "--config", "a.yaml"]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    save(folders / "train" / "cat" / "flat.png", np.zeros((96, 128, 3), np.uint8))
    assert main(["data", "doctor", "--config", "a.yaml"]) == 0
    assert main(["data", "doctor", "--config", "a.yaml", "--strict"]) == 1
    capsys.readouterr()
    plant_in_folders(folders)
    words = ["data", "doctor", "--config", "a.yaml", "--report", "r.json", "--fix", "plan.json"]
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "leaked.jpg (val " in text
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert report["samples"] == {"train": 56, "val": 26}
    assert report["counts"]["error"] == sum(f["severity"] == "error" for f in report["findings"])
    assert json.loads(Path("plan.json").read_text(encoding="utf-8"))["proposals"]


def test_doctor_says_what_cannot_be_opened(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A split with a class that training lacks is a finding, and the others are looked at."""
    save(folders / "val" / "bird" / "b.png", texture(1))
    save(folders / "train" / "cat" / "flat.png", np.zeros((96, 128, 3), np.uint8))
    found = told(capsys, "data", "doctor", "--config", "a.yaml")["findings"]
    by_check = {one["check"]: one for one in found}
    assert "bird" in by_check["unusable"]["what"]
    assert "constant-image" in by_check


def test_doctor_of_annotations_at_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The storage is detected; long lists are cut unless all is asked for."""
    write_coco(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    for one in content["annotations"][:10]:
        one["bbox"][2] = 0
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert main(["data", "doctor", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert text.count("has no area") == 5
    assert "5 more of box-zero-area" in text
    assert main(["data", "doctor", str(tmp_path), "--all"]) == 1
    assert capsys.readouterr().out.count("has no area") == 10


def test_preview_is_the_same_for_a_seed(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sheets of all splits; the same bytes for the same seed, others for another."""
    words = ["data", "preview", "--config", "a.yaml", "--count", "5"]
    for out, more in (("a", []), ("b", []), ("c", ["--seed", "9"]), ("d", ["--plain"])):
        assert main([*words, "--out", out, *more]) == 0
    sheets = {out: (folders / out / "train_1.png").read_bytes() for out in "abcd"}
    assert sheets["a"] == sheets["b"] != sheets["c"]
    augmented, plain = (Image.open(folders / out / "train_1.png").size for out in "ad")
    assert augmented > plain
    assert (folders / "a" / "val_1.png").is_file()


def test_preview_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes, sounds, texts and vectors are drawn; a bad sample is a panel that says so."""
    for name, write in (
        ("coco", write_coco),
        ("sounds", write_sounds),
        ("texts", write_texts),
    ):
        write(tmp_path / name)
    plant_in_coco(tmp_path / "coco")
    write_table(tmp_path / "table")
    table = ["--set", "columns={value: price, inputs: [a, b, c]}"]
    for words in (["coco"], ["sounds"], ["texts"], ["table/table.csv", *table]):
        path = str(tmp_path / words[0])
        out = tmp_path / "out" / words[0].partition("/")[0]
        assert main(["data", "preview", path, *words[1:], "--out", str(out), "--count", "24"]) == 0
        with Image.open(out / "train_1.png") as sheet:
            assert np.asarray(sheet).std() > 10
            assert sheet.width <= 1600


def test_split_lists_are_used_by_a_config(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists for `split: {given: …}`: disjoint, complete, the same again, and usable."""
    words = ["data", "split", "train", "--ratio", "train=0.5,val=0.25,test=0.25"]
    assert main([*words, "--out", "lists"]) == 0
    said = capsys.readouterr().out
    assert "split: {given: lists}" in said
    parts = {n: Path(f"lists/{n}.txt").read_text(encoding="utf-8") for n in ("train", "val")}
    assert main([*words, "--out", "again"]) == 0
    assert Path("again/train.txt").read_text(encoding="utf-8") == parts["train"]
    assert len(parts["train"].splitlines()) == 18
    assert not set(parts["train"].splitlines()) & set(parts["val"].splitlines())
    block = "{dataset: {type: image_folder, kwargs: {data_path: train}}, split: {given: lists}}"
    Path("c.yaml").write_text(f"dataloader: {{train: {block}, val: {block}}}\n")
    capsys.readouterr()
    found = told(capsys, "data", "stats", "--config", "c.yaml")
    assert [one["samples"] for one in found] == [18, 9]
    assert [one["samples"] for one in found[0]["classes"]] == [6, 6, 6]


@pytest.mark.parametrize("form", ["file_list", "table"])
def test_split_with_labels(form: str, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists with labels and tables are data sets of their own."""
    summary = told(capsys, "data", "split", "train", "--out", "out", "--format", form)
    assert [one["samples"] for one in summary["parts"]] == [29, 7]
    path = "out" if form == "file_list" else "out/split.csv"
    words = ["--type", form, "--splits", "train,val", "--set", "root=train"]
    found = told(capsys, "data", "stats", path, *words)
    assert [one["samples"] for one in found] == [29, 7]
    assert {one["name"] for one in found[0]["classes"]} == {"cat", "dog", "猫"}


def test_split_into_folds_and_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folds each leave out another part; groups stay whole; a table keeps its columns."""
    rows = "".join(f"{k}.5,{k % 7},p{k % 9}\n" for k in range(90))
    (tmp_path / "t.csv").write_text("a,price,patient\n" + rows)
    columns = "columns={value: price, inputs: [a], group: patient}"
    words = ["data", "split", str(tmp_path / "t.csv"), "--set", columns]
    out = str(tmp_path / "folds")
    summary = told(capsys, *words, "--out", out, "--folds", "3", "--group", "--seed", "1")
    held_out = [one["samples"] for one in summary["parts"] if one["part"] == "val"]
    assert sum(held_out) == 90
    lines = (tmp_path / "folds" / "split.csv").read_text().splitlines()
    assert lines[0] == "a,price,patient,fold0,fold1,fold2"
    part_of: dict[str, set[str]] = {}
    for line in lines[1:]:
        _, _, patient, fold, _, _ = line.split(",")
        part_of.setdefault(patient, set()).add(fold)
    assert all(len(parts) == 1 for parts in part_of.values())


def test_what_cannot_be_split(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data with splits asks which one; a ratio must be one."""
    (folders / "a.yaml").unlink()
    assert main(["data", "split", ".", "--out", "out"]) == 2
    assert "divided already: train, val" in capsys.readouterr().err
    assert main(["data", "split", "train", "--out", "out", "--ratio", "train:0.8"]) == 2
    assert "no part with its share" in capsys.readouterr().err
