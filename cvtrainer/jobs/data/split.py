"""`cvtrainer data split`: divide one data set and write the parts down, for good.

A config can divide by itself (`split: {ratio: …}`); lists are for parts that shall be seen, kept
with the data, or used by other programs. The same data and seed give the same lists.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_whole
from cvtrainer.data.datasets.reading.table_reading import Reading, read_table
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.splits import Split
from cvtrainer.data.survey import Subject
from cvtrainer.jobs.data.opened import Request, open_data

Parts = Mapping[str, NDArray[np.int64]]
FORMS = ("lists", "file_list", "table")


@dataclass(frozen=True)
class Division:
    """How to divide."""

    ratio: Mapping[str, float] | None = None
    stratify: bool | None = None
    group: str | None = None
    folds: int | None = None
    seed: int = 0

    def of(self, dataset: Any) -> dict[str, Parts]:
        """The parts by name; with folds, those of every fold (`fold0`, …), else of `""`."""
        common: dict[str, Any] = {"stratify": self.stratify, "group": self.group, "seed": self.seed}
        if self.folds is None:
            names = list(self.ratio or {"train": 0.8, "val": 0.2})
            found = {n: Split(n, ratio=self.ratio, **common).numbers(dataset) for n in names}
            return {"": found}
        return {
            f"fold{fold}": {
                name: Split(name, folds=self.folds, fold=fold, **common).numbers(dataset)
                for name in ("train", "val")
            }
            for fold in range(self.folds)
        }


@dataclass
class Divided:
    """What was written, how large the parts are, and how a config uses them."""

    files: list[Path] = field(default_factory=list)
    counts: list[dict[str, Any]] = field(default_factory=list)
    usage: str = ""

    def rows(self) -> list[list[str]]:
        """For a table on the terminal."""
        head = list(dict.fromkeys(name for one in self.counts for name in one))
        return [head, *[[str(one.get(name, "")) for name in head] for one in self.counts]]

    def as_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "files": [path.as_posix() for path in self.files],
            "parts": self.counts,
            "usage": self.usage,
        }


def parse_ratio(text: str) -> dict[str, float]:
    """`train=0.8,val=0.2` as names and shares."""
    shares: dict[str, float] = {}
    for piece in text.split(","):
        name, equals, value = piece.partition("=")
        try:
            shares[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise UserError(
                f"{piece!r} is no part with its share",
                where="--ratio",
                todo="Write e.g. train=0.8,val=0.2.",
            )
    return shares


def divide(
    request: Request, division: Division, *, folder: Path, form: str | None = None
) -> Divided:
    """Write the lists of every part into that folder."""
    opened = open_data(request).require_all()
    if len(opened.subjects) != 1:
        raise UserError(
            "this data is divided already: " + ", ".join(one.split for one in opened.subjects),
            todo="Give the part to divide: --phase train, or --set split=NAME.",
        )
    subject = Subject(opened.subjects[0].split, opened.subjects[0].whole)
    form = form or ("table" if _is_plain_table(subject) else "lists")
    folds = division.of(subject.whole)
    done = Divided()
    writers = {"lists": _write_lists, "file_list": _write_file_lists, "table": _write_table}
    if form not in writers:
        raise UserError(f"form {form!r}", todo=f"Use {', '.join(FORMS)}.")
    writers[form](subject, folds, folder, done)
    for fold, parts in folds.items():
        for part, numbers in parts.items():
            done.counts.append(_counted(subject, fold, part, numbers))
    return done


def _is_plain_table(subject: Subject) -> bool:
    return isinstance(subject.whole, Table) and subject.raw("path", 0) is None


def _paths(subject: Subject) -> list[str]:
    if subject.index is None or "path" not in subject.index or "offset" in subject.index:
        raise UserError(
            "these samples are no files of their own, so no list can name them",
            todo="Divide in the config: split: {ratio: {train: 0.8, val: 0.2}}.",
        )
    paths = subject.index.texts("path")
    for path in paths:
        if not isinstance(path, str):
            raise UserError(f"{path!r} is no text of UTF-8, so no list can name it")
    return paths


def _write_lists(subject: Subject, folds: Mapping[str, Parts], folder: Path, done: Divided) -> None:
    """A path a line: `split: {given: FOLDER}` reads them with any storage."""
    paths = _paths(subject)
    for fold, parts in folds.items():
        for part, numbers in parts.items():
            text = "".join(f"{paths[k]}\n" for k in numbers.tolist())
            _put(folder / fold / f"{part}.txt", text, done)
    first = folder / next(iter(folds))
    done.usage = f"split: {{given: {first.as_posix()}}}"


def _write_file_lists(
    subject: Subject, folds: Mapping[str, Parts], folder: Path, done: Divided
) -> None:
    """A path and a label a line, for `type: file_list`."""
    paths, labels = _paths(subject), _labels(subject)
    for fold, parts in folds.items():
        for part, numbers in parts.items():
            rows = [[paths[k], *labels[k]] for k in numbers.tolist()]
            _put(folder / fold / f"{part}.txt", _separated(rows, "\t"), done)
    root = getattr(subject.whole, "root", "")
    first = (folder / next(iter(folds))).as_posix()
    done.usage = (
        f"dataset: {{type: file_list, data_path: {first}, split: train, root: {root}, "
        "separator: tab}"
    )


def _write_table(subject: Subject, folds: Mapping[str, Parts], folder: Path, done: Divided) -> None:
    """One table with a column that names the part of each row (with folds, one per fold)."""
    names = {fold: _part_of_each(len(subject), parts) for fold, parts in folds.items()}
    file = folder / "split.csv"
    if isinstance(subject.whole, Table) and len(subject.whole.index):
        table = read_table(subject.whole.table_file, Reading())
        rows = subject.whole.index.numbers("row") if "row" in subject.whole.index else None
        used = range(len(table)) if rows is None else rows.tolist()
        head = [*table.column_names, *_columns(folds)]
        cells = table.take(list(used)).to_pylist()
        body = [
            [*("" if value is None else value for value in row.values()), *parts]
            for row, parts in zip(cells, zip(*names.values(), strict=True), strict=True)
        ]
    else:
        paths, labels = _paths(subject), _labels(subject)
        width = max((len(one) for one in labels), default=0)
        label_heads = ["label"] if width == 1 else [f"label_{k}" for k in range(width)]
        head = ["path", *label_heads, *_columns(folds)]
        body = [
            [path, *label, *parts]
            for path, label, parts in zip(
                paths, labels, zip(*names.values(), strict=True), strict=True
            )
        ]
    _put(file, _separated([head, *body], ","), done)
    root = getattr(subject.whole, "root", "")
    done.usage = (
        f"dataset: {{type: table, data_path: {file.as_posix()}, split: train, root: {root}}}"
    )


def _columns(folds: Mapping[str, Parts]) -> list[str]:
    return [fold or "split" for fold in folds]


def _part_of_each(count: int, parts: Parts) -> list[str]:
    found = [""] * count
    for part, numbers in parts.items():
        for number in numbers.tolist():
            found[number] = part
    return found


def _labels(subject: Subject) -> list[list[str]]:
    """The label of each sample as text: its class, or its value, or nothing."""
    assert subject.index is not None
    names = subject.classes
    if "class_id" in subject.index:
        return [
            [names[n] if 0 <= n < len(names) else ""] for n in subject.index.numbers("class_id")
        ]
    if "value" in subject.index:
        return [[f"{v!r}" for v in np.ravel(value).tolist()] for value in _values(subject)]
    return [[] for _ in range(len(subject))]


def _values(subject: Subject) -> list[Any]:
    return [subject.raw("value", row) for row in range(len(subject))]


def _separated(rows: Sequence[Sequence[Any]], sign: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=sign, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _put(path: Path, text: str, done: Divided) -> None:
    write_whole(path, text)
    done.files.append(path)


def _counted(subject: Subject, fold: str, part: str, numbers: NDArray[np.int64]) -> dict[str, Any]:
    found: dict[str, Any] = {"fold": fold} if fold else {}
    found |= {"part": part, "samples": len(numbers)}
    labels = getattr(subject.whole, "labels", None)
    if labels is not None and subject.classes:
        counts = np.bincount(
            np.maximum(np.asarray(labels)[numbers], 0), minlength=len(subject.classes)
        )
        found |= dict(zip(subject.classes, counts.tolist(), strict=True))
    return found
