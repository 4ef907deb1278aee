"""Splits: exact shares, whole groups, every fold once, and what adding samples may change."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.image_folder import ImageFolder
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.index import Index
from cvtrainer.data.splits import Split
from cvtrainer.data.splits.partition import by_groups, by_strata
from cvtrainer.data.splits.subset import Subset
from tests.data.conftest import save_picture


def _data(
    labels: Sequence[int] | None = None,
    *,
    paths: Sequence[str] | None = None,
    count: int = 0,
    groups: Sequence[Any] | None = None,
) -> StoredDataset:
    count = len(labels) if labels is not None else len(paths or ()) or count
    columns: dict[str, Any] = {"path": list(paths or [f"{k:05}.png" for k in range(count)])}
    if labels is not None:
        columns["class_id"] = np.asarray(labels, dtype=np.int64)
    if groups is not None:
        columns["group"] = list(groups)
    return StoredDataset(
        Index.of(columns),
        root="somewhere",
        task="generation" if labels is None else "classification",
        classes=[str(k) for k in range(max(labels or [0]) + 1)],
    )


def _random_labels(count: int, classes: int, seed: int) -> list[int]:
    shares = np.random.default_rng(seed).dirichlet(np.ones(classes))
    return np.random.default_rng(seed).choice(classes, size=count, p=shares).tolist()


THREE = {"train": 0.7, "val": 0.17, "test": 0.13}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ratio", [{"train": 0.8, "val": 0.2}, THREE])
def test_stratified_parts_are_within_one_sample_of_their_share(
    seed: int, ratio: dict[str, float]
) -> None:
    labels = _random_labels(997, 13, seed)
    data = _data(labels)
    seen: list[int] = []
    for part, share in ratio.items():
        numbers = Split(part, ratio=ratio, seed=seed).numbers(data)
        assert (np.diff(numbers) > 0).all()
        seen += numbers.tolist()
        held = np.bincount(np.asarray(labels)[numbers], minlength=13)
        exact = np.bincount(labels, minlength=13) * share
        assert (np.abs(held - exact) < 1).all()
        assert abs(len(numbers) - 997 * share) < 3
    assert sorted(seen) == list(range(997))


def test_many_tiny_classes_still_fill_every_part() -> None:
    labels = [k // 2 for k in range(200)]
    sizes = [len(Split(part).numbers(_data(labels))) for part in ("train", "val")]
    assert abs(sizes[1] - 40) <= 1


def test_the_same_seed_is_the_same_split_and_another_is_another() -> None:
    data = _data(_random_labels(500, 4, 0))
    first = Split("val", seed=3).numbers(data).tolist()
    assert Split("val", seed=3).numbers(data).tolist() == first
    assert Split("val", seed=4).numbers(data).tolist() != first
    unstratified = Split("val", stratify=False, seed=3).numbers(data).tolist()
    assert unstratified != Split("val", stratify=False, seed=4).numbers(data).tolist()


def test_without_strata_added_files_move_nobody() -> None:
    before = [f"in/{k:04}.png" for k in range(0, 2000, 2)]
    after = sorted([*before, *(f"in/{k:04}.png" for k in range(1, 2000, 2)), "a.png", "ö.png"])
    parts = []
    for paths in (before, after):
        numbers = Split("val").numbers(_data(paths=paths))
        parts.append({paths[k] for k in numbers})
        assert 0.15 < len(numbers) / len(paths) < 0.25
    assert parts[0] == parts[1] & set(before)


def test_what_is_there_twice_is_in_one_part() -> None:
    paths = [f"{k}.png" for k in range(400)] + [f"{k}.png" for k in range(100)]
    held = set(Split("val").numbers(_data(paths=paths)).tolist())
    assert all((k in held) == (400 + k in held) for k in range(100))
    container = Split("val").numbers(_data(paths=["all.bin"] * 500))
    assert 60 < len(container) < 140


def test_texts_are_known_by_what_they_say(tmp_path: Path) -> None:
    lines = [f"sentence {k}" for k in range(300)]
    held = []
    for texts in (lines, ["a new one", *lines]):
        rows = "\n".join(f"{text},x" for text in texts)
        (tmp_path / "t.csv").write_text(f"text,label\n{rows}\n")
        split = Split("val", stratify=False)
        held.append({texts[k] for k in split.numbers(Table(tmp_path / "t.csv"))})
    assert held[0] == held[1] - {"a new one"}


def test_with_strata_as_many_move_as_were_added() -> None:
    before = [f"{k:04}.png" for k in range(1000)]
    after = sorted([*before, *(f"{k:04}x.png" for k in range(0, 1000, 100))])
    held = []
    for paths in (before, after):
        data = _data([0] * len(paths), paths=paths)
        held.append({paths[k] for k in Split("val").numbers(data)})
    assert len(held[0] - held[1]) <= 10
    assert len(held[0]) == 200


@pytest.mark.parametrize("stratify", [False, True])
def test_groups_are_never_in_two_parts(stratify: bool) -> None:
    rng = np.random.default_rng(1)
    groups = [f"patient {k}" for k in rng.integers(0, 150, 1500)]
    labels = rng.integers(0, 3, 1500).tolist()
    data = _data(labels, groups=groups)
    owners: dict[str, str] = {}
    for part, share in THREE.items():
        split = Split(part, ratio=THREE, group="group", stratify=stratify)
        numbers = split.numbers(data)
        for k in numbers:
            assert owners.setdefault(groups[k], part) == part
        if stratify:
            counts = np.bincount(np.asarray(labels)[numbers], minlength=3)
            exact = share * np.bincount(labels, minlength=3)
            assert (np.abs(counts - exact) < 20).all()
    assert len(owners) == len(set(groups))


def test_a_sample_without_a_group_is_one_by_itself() -> None:
    parts = by_groups([None] * 400, None, np.asarray([0.5, 0.5]), key=1)
    assert 150 < parts.sum() < 250


def test_groups_stay_where_they_are_when_samples_come() -> None:
    groups = [f"{k % 40}" for k in range(400)]
    more = [*groups, *(f"{k % 60}" for k in range(200))]
    first = Split("val", group="group").numbers(_data(count=400, groups=groups))
    second = Split("val", group="group").numbers(_data(count=600, groups=more))
    assert first.tolist() == [k for k in second.tolist() if k < 400]


@pytest.mark.parametrize("how", ["strata", "groups", "hash"])
def test_folds_cover_every_sample_once(how: str) -> None:
    labels = _random_labels(503, 5, 2)
    data = _data(None if how == "hash" else labels, count=503, groups=[k // 4 for k in range(503)])
    group = "group" if how == "groups" else None
    seen: list[int] = []
    for fold in range(5):
        val = Split("val", folds=5, fold=fold, group=group).numbers(data).tolist()
        train = Split("train", folds=5, fold=fold, group=group).numbers(data).tolist()
        assert sorted(train + val) == list(range(503))
        if how == "strata":
            counts = np.bincount(np.asarray(labels)[val], minlength=5)
            assert (np.abs(counts - np.bincount(labels, minlength=5) / 5) < 1).all()
        seen += val
    assert sorted(seen) == list(range(503))


def test_strata_by_hand() -> None:
    hashes = np.asarray([5, 1, 9, 3, 7], dtype=np.uint64)
    parts = by_strata(hashes, np.zeros(5, dtype=np.int64), np.asarray([0.8, 0.2]))
    assert parts.tolist() == [0, 0, 1, 0, 0]


def test_a_column_or_lists_give_the_parts(tmp_path: Path) -> None:
    for k, name in enumerate(["cat/1", "cat/2", "dog/3", "dog/4"]):
        save_picture(tmp_path / "images" / f"{name}.png", k)
    data = ImageFolder(tmp_path / "images")
    lists = tmp_path / "sets"
    lists.mkdir()
    (lists / "train.txt").write_text("1\n3\n")
    (lists / "val.txt").write_text("cat/2.png 0\ndog/4.png 1\n")
    (lists / "trainval.txt").write_text("cat/1  1\ncat/2 -1\ndog/4  0\n")
    assert Split("train", given=str(lists)).numbers(data).tolist() == [0, 2]
    assert Split("val", given=str(lists)).numbers(data).tolist() == [1, 3]
    assert Split("trainval", given=str(lists)).numbers(data).tolist() == [0, 3]
    assert Split("any", given=str(lists / "val.txt")).numbers(data).tolist() == [1, 3]
    with pytest.raises(UserError, match=r"no list test\.txt\. There is train, trainval, val"):
        Split("test", given=str(lists)).numbers(data)
    (lists / "bad.txt").write_text("1\n9\n")
    with pytest.raises(UserError, match=r"1 of 2 names are not in the data set, e\.g\. 9"):
        Split("bad", given=str(lists)).numbers(data)
    save_picture(tmp_path / "images" / "dog" / "1.png", 9)
    with pytest.raises(UserError, match="1 names more than one file"):
        Split("train", given=str(lists)).numbers(ImageFolder(tmp_path / "images"))
    with pytest.raises(UserError, match="neither a column of the data set, nor a list file"):
        Split("train", given="nowhere").numbers(data)


def test_a_column_of_a_table_gives_the_parts(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label,split,group\na,0,train,1\nb,1,val,1\nc,0,train,2\n")
    data = Table(file)
    assert Split("train", given="split").of(data)[1]["x"] == "c"
    with pytest.raises(UserError, match=r"no sample has split 'test'\. There is train, val\."):
        Split("test", given="split").numbers(data)
    assert Split("val", group="group", ratio={"train": 0.5, "val": 0.5}).group == "group"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "test"}, "the ratio has no part 'test'"),
        ({"part": "val", "ratio": {"train": 0.8, "val": 0.3}}, "does not add up to 1"),
        ({"part": "val", "ratio": {"train": 1.0, "val": 0.0}}, "does not add up to 1"),
        ({"part": "val", "folds": 5, "fold": 5}, "fold 5 of 5"),
        ({"part": "test", "folds": 5}, "folds have no part 'test'"),
        ({"part": "val", "folds": 5, "ratio": {"train": 0.8, "val": 0.2}}, "not both"),
        ({"part": "val", "given": "split", "folds": 5}, "not both"),
    ],
)
def test_what_makes_no_split_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Split(**arguments)


def test_a_part_without_samples_is_an_error() -> None:
    with pytest.raises(UserError, match="part val of 3 samples is empty"):
        Split("train", ratio={"train": 0.999, "val": 0.001}).numbers(_data([0, 1, 2]))
    with pytest.raises(UserError, match="cannot be stratified"):
        Split("train", stratify=True).numbers(_data(count=9))
    with pytest.raises(UserError, match="no column 'patient' to group by"):
        Split("train", group="patient").numbers(_data(count=9))


def test_a_subset_is_a_data_set_of_its_own(folder: Path) -> None:
    whole = ImageFolder(folder)
    part = Subset(whole, [12, 3, 7])
    assert len(part) == 3
    assert part.classes == whole.classes
    assert part.class_names == ("cat", "dog")
    assert part.labels.tolist() == [1, 0, 1]
    assert part.thread_safe
    assert not part.draws_randomly
    assert part.groups is None
    assert part.index.value("path", 0) == "dog/5.png"
    assert part.record(0)["x"] == whole.record(12)["x"]
    assert part.record(0)["meta"] == {"index": 0, "path": str(folder / "dog" / "5.png")}
    np.testing.assert_array_equal(part[1]["x"], whole[3]["x"])
    again = pickle.loads(pickle.dumps(part))
    assert again.record(2) == part.record(2)
    with pytest.raises(IndexError, match="the part has no sample 3"):
        part.record(3)
    with pytest.raises(UserError, match="a part names sample 13"):
        Subset(whole, [13])
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = part.nothing_of_this_name


def test_a_subset_of_users_data_promises_nothing() -> None:
    class Own:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
            return np.full((2, 2, 3), number, dtype=np.uint8), number

    part = Split("val", ratio={"train": 0.5, "val": 0.5}, seed=1).of(Own())
    assert not part.thread_safe
    assert part.draws_randomly
    assert part.labels is None
    assert part[0]["target"]["class_id"] == int(part.numbers[0])
    assert part[0]["meta"]["index"] == 0
