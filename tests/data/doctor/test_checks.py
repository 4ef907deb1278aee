"""Single checks, plans, and what large or odd sets need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtrainer.data.datasets.image_folder import ImageFolder
from cvtrainer.data.doctor import Severity, check_sample, examine, plan_of
from cvtrainer.data.doctor import duplicates as duplicate_checks
from cvtrainer.data.doctor.distribution import apart
from cvtrainer.data.splits import Split
from cvtrainer.data.survey import Sight, Subject, in_order, look
from tests.data.doctor.worlds import (
    WORLDS,
    Memory,
    open_coco,
    open_folders,
    plant_in_coco,
    plant_in_folders,
    texture,
    write_coco,
    write_folders,
)


def checks(sight: Sight, classes: tuple[str, ...] = ()) -> list[str]:
    return [one.check for one in check_sample(sight, classes)]


def test_a_mask_may_hold_classes_and_the_ignored_number_only() -> None:
    """255 says nothing; everything else must be a class."""
    mask = np.zeros((8, 8), np.uint8)
    mask[0], mask[1] = 1, 255
    picture = texture(1, (8, 8))
    good = Sight("train", 0, "a", kind="image", x=picture, target={"mask": mask})
    assert checks(good, ("a", "b")) == []
    mask[2] = 7
    assert checks(good, ("a", "b")) == ["mask-values"]


def test_keypoints_that_are_no_numbers() -> None:
    """NaN among the places."""
    target = {"keypoints": np.array([[1, 2, 2], [np.nan, 2, 2]])}
    sight = Sight("train", 0, "a", kind="image", x=texture(1), target=target)
    assert checks(sight) == ["keypoint-not-finite"]


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        ([100.0] * 20 + [3000.0], [20]),
        ([100.0] * 20 + [4.0], [20]),
        (list(np.linspace(50, 900, 40)), []),
        ([100.0] * 20 + [3000.0] * 5, []),
        (list(np.random.default_rng(0).lognormal(3, 1, 300)), []),
        ([1.0, 100.0], []),
    ],
)
def test_what_stands_apart(values: list[float], odd: list[int]) -> None:
    """A few far from all others, and not the tail of a distribution or a second kind."""
    assert apart(np.array(values)).tolist() == odd


def test_parts_of_one_data_set_are_examined_together(tmp_path: Path) -> None:
    """Splits that a config makes: rows are the part's own, columns are asked of the whole."""
    write_folders(tmp_path)
    cat = tmp_path / "train" / "cat"
    for k in range(12):
        (cat / f"copy{k:02}.jpg").write_bytes((cat / f"train0{k:02}.jpg").read_bytes())
    whole = ImageFolder(tmp_path / "train")
    ratio = {"train": 0.6, "val": 0.4}
    subjects = [Subject(name, Split(name, ratio=ratio, seed=3).of(whole)) for name in ratio]
    names = {one.split: [one.file(row) for row in range(len(one))] for one in subjects}
    assert sorted(names["train"] + names["val"]) == [whole.file(k) for k in range(len(whole))]
    found = examine(subjects, threads=1)
    both = [one for one in found if one.check in ("leak", "duplicate")]
    assert len(both) == 12
    assert all(one.row is not None and names[one.split][one.row] == one.file for one in both)


def test_large_sets_use_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all pairs are compared, copies are found all the same."""
    write_folders(tmp_path)
    expected = [one for one in plant_in_folders(tmp_path) if one.check.startswith("near")]
    for least, most in ((0, 60_000), (0, 0)):
        monkeypatch.setattr(duplicate_checks, "_ALL_PAIRS", least)
        monkeypatch.setattr(duplicate_checks, "_SHORT_BANDS", most)
        found = [one for one in examine(open_folders(tmp_path)) if one.check.startswith("near")]
        wanted = expected if most else [one for one in expected if one.where != "train004.jpg"]
        for one in wanted:
            assert any(one.where in str(other.file) for other in found), one


def test_same_findings_from_one_thread_and_many(tmp_path: Path) -> None:
    """Threads change nothing, not even the order."""
    for name in ("coco boxes", "image folder"):
        root = tmp_path / name
        WORLDS[name].write(root)
        WORLDS[name].plants(root)
        alone = examine(WORLDS[name].open(root), threads=1)
        together = examine(WORLDS[name].open(root), threads=4)
        assert [one.as_plain() for one in alone] == [one.as_plain() for one in together]


def test_without_near_only_equal_copies_count(tmp_path: Path) -> None:
    """The comparison of pictures can be left out."""
    write_folders(tmp_path)
    plant_in_folders(tmp_path)
    found = {one.check for one in examine(open_folders(tmp_path), near=False)}
    assert "duplicate" in found
    assert not {"near-duplicate", "near-leak"} & found


def test_a_plan_proposes_and_changes_nothing(tmp_path: Path) -> None:
    """Every proposal names what, where and why; a leak takes the copy out of training."""
    folders, boxes = tmp_path / "folders", tmp_path / "boxes"
    write_folders(folders)
    plant_in_folders(folders)
    write_coco(boxes)
    plant_in_coco(boxes)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    found = [*examine(open_folders(folders)), *examine(open_coco(boxes))]
    plan = json.loads(json.dumps(plan_of(found)))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    proposals = plan["proposals"]
    assert plan["changes_nothing"]
    assert {"remove", "rename", "relabel", "clip", "rotate", "remove-box", "swap-corners"} <= {
        one["action"] for one in proposals
    }
    leak = next(one for one in proposals if one["check"] == "leak")
    assert leak["split"] == "train"
    assert leak["file"].endswith("train006.jpg")
    assert leak["other_split"] == "val"
    assert leak["other_file"] != leak["file"]
    assert leak["other_file"] in leak["reason"]
    assert leak["file"] not in leak["reason"]
    clip = next(one for one in proposals if one["action"] == "clip")
    assert clip["to"] == [110.0, 10.0, 128.0, 30.0]
    rename = next(one for one in proposals if one["action"] == "rename")
    assert rename["to"].endswith("really_png.png")
    removals = [(p["split"], p["row"]) for p in proposals if p["action"] == "remove"]
    assert len(removals) == len(set(removals))


def test_a_users_own_data_set(tmp_path: Path) -> None:
    """Any object with a length and samples is looked at, in one thread unless it says otherwise."""

    class Own:
        classes = ("a", "b")

        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> Any:
            if row == 2:
                raise ValueError("nothing here")
            return Image.fromarray(texture(40 + row)), row % 2

    found = examine([Subject("train", Own())])
    assert [(one.check, one.row) for one in found] == [("unreadable", 2)]
    assert found[0].severity is Severity.ERROR


def test_order_and_errors_of_threads() -> None:
    """Results come in order; an exception comes where its row would."""
    assert list(in_order(lambda row: row * row, 100, threads=4)) == [k * k for k in range(100)]

    def sometimes(row: int) -> int:
        if row == 40:
            raise KeyError(row)
        return row

    seen: list[int] = []
    with pytest.raises(KeyError):
        seen.extend(in_order(sometimes, 100, threads=3))


def test_shallow_looks_read_headers_only(tmp_path: Path) -> None:
    """A picture whose pixels are gone still has a size."""
    path = tmp_path / "c" / "a.jpg"
    path.parent.mkdir()
    Image.fromarray(texture(3)).save(path)
    path.write_bytes(path.read_bytes()[:700])
    (tmp_path / "d").mkdir()
    Image.fromarray(texture(4)).save(tmp_path / "d" / "b.jpg")
    subject = Subject("train", ImageFolder(tmp_path))
    shallow = look(subject, 0, deep=False)
    assert shallow.size == (96, 128)
    assert not shallow.troubles
    assert [one.kind for one in look(subject, 0, deep=True).troubles] == ["truncated"]


def test_values_of_equal_rows_in_tables_are_natural_where_common() -> None:
    """Coarse numbers coincide: then it is a note, and one such row is a warning."""
    rng = np.random.default_rng(1)
    for count, severity in ((2, Severity.NOTE), (10**6, None)):
        rows = [rng.integers(0, count, 2).astype(np.float32) for _ in range(60)]
        columns = {"class_id": rng.integers(0, 2, 60)}
        subject = Subject("train", Memory(rows, "classification", columns, ("a", "b")))
        found = {one.severity for one in examine([subject])}
        assert found == (set() if severity is None else {severity})
