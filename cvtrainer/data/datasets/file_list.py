"""A text file that lists pictures, one a line, with their labels or values behind them.

`cats/1.jpg 0`, `"my cat.jpg",cat`, `a.png<tab>cat<tab>dog`: the separator is seen, paths may be
quoted, and a path with spaces needs no quotes where it ends like an image file. Lines that are
empty or begin with `#` are no samples.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.kept_index import IndexStore, Kept, stamp_of
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.datasets.table_columns import encode, encode_lists, vectors
from cvtrainer.data.datasets.table_reading import decode_whole
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample

_SEPARATORS = {"tab": "\t", "comma": ",", "space": " "}
_LOOK_AT = 20
_TASKS = ("classification", "multilabel", "regression", "generation")


class FileList(StoredDataset):
    """Samples of a list of files: `class_id`, `class_ids` or `value`, or none where no label is.

    `split` reads `<split>.txt` where `data_path` is a folder. Paths begin at `root`, by default the
    folder of the list. `separator` is tab, comma or space; left out, it is seen. Labels are names
    or numbers; with `task: regression` numbers are values. UTF-8 unless `encoding` is given.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        split: str | None = None,
        root: str | Path | None = None,
        task: str | None = None,
        classes: Sequence[str] | None = None,
        separator: str | None = None,
        encoding: str | None = None,
        index_dir: str | Path | None = None,
    ) -> None:
        self.list_file = _list_file(Path(data_path), split)
        self._where = str(self.list_file)
        if separator is not None and separator not in _SEPARATORS:
            raise UserError(
                f"separator: {separator!r}",
                where=self._where,
                todo=f"Use {', '.join(_SEPARATORS)}.",
            )
        if task is not None and task not in _TASKS:
            raise UserError(
                f"a list of files cannot serve task {task!r}",
                where=self._where,
                todo=f"Use {', '.join(_TASKS)}.",
            )
        known = list(classes) if classes is not None else None
        arguments = {"task": task, "classes": known, "separator": separator, "encoding": encoding}
        store = IndexStore(index_dir, self.list_file, {"reader": "file_list", **arguments})
        kept = store.find() or self._read(task, known, separator, encoding, store)
        super().__init__(
            kept.index,
            root=root if root is not None else self.list_file.parent,
            task=kept.learned["task"],
            classes=kept.learned["classes"],
        )
        self._must_find_some()

    def field(self, name: str, row: int) -> Any:
        """A target field of that row; what is missing or unknown makes a bad sample."""
        if name == "class_id" and self.index.value(name, row) < 0:
            raise BadSample(
                f"the label is missing or none of the {len(self.classes)} classes",
                kind="label",
                where=self.file(row),
            )
        value = super().field(name, row)
        if name == "value" and not np.isfinite(value).all():
            raise BadSample("the value is missing", kind="value", where=self.file(row))
        return value

    def _read(
        self,
        task: str | None,
        classes: list[str] | None,
        separator: str | None,
        encoding: str | None,
        store: IndexStore,
    ) -> Kept:
        try:
            stamp = stamp_of(str(self.list_file.absolute()))
            data = self.list_file.read_bytes()
        except OSError as error:
            raise UserError("no such list file", where=self._where) from error
        lines = _lines(decode_whole(data, self._where, encoding))
        paths, labels, line_numbers = _parsed(lines, separator, self._where)
        if not paths:
            raise UserError("the list holds no file", where=self._where)
        task = task or _task_of(labels)
        columns: dict[str, Any] = {"path": pa.array(paths, pa.large_string())}
        names: list[str] = []
        if task == "classification":
            self._one_each(labels, line_numbers)
            texts = pa.chunked_array([pa.array([r[0] if r else None for r in labels], pa.string())])
            columns["class_id"], names = encode(texts, classes, self._where)
        elif task == "multilabel":
            cells = pa.chunked_array([pa.array(labels, pa.large_list(pa.large_string()))])
            columns["class_ids"], names = encode_lists(cells, classes, None, self._where)
        elif task == "regression":
            columns["value"] = self._values(labels, line_numbers)
        return store.keep(Index.of(columns), [stamp], {"task": task, "classes": names})

    def _one_each(self, labels: list[list[str]], line_numbers: list[int]) -> None:
        for row, number in zip(labels, line_numbers, strict=True):
            if len(row) > 1:
                raise UserError(
                    f"{len(row)} labels where one is expected",
                    where=f"{self._where}:{number}",
                    todo="Say task: multilabel or task: regression, or quote what has spaces.",
                )

    def _values(self, labels: list[list[str]], line_numbers: list[int]) -> Any:
        width = max(len(row) for row in labels)
        if not width:
            raise UserError("no line has a value", where=self._where)
        values = np.full((len(labels), width), np.nan)
        for place, (row, number) in enumerate(zip(labels, line_numbers, strict=True)):
            try:
                values[place, : len(row)] = [float(text) for text in row]
            except ValueError as error:
                raise UserError(
                    f"{' '.join(row)!r} is no number", where=f"{self._where}:{number}"
                ) from error
        return values[:, 0].copy() if width == 1 else vectors(values)

    def _must_find_some(self) -> None:
        rows = np.linspace(0, len(self) - 1, min(_LOOK_AT, len(self))).astype(int).tolist()
        if not any(Path(self.file(row)).is_file() for row in rows):
            raise UserError(
                f"none of the first files is there, e.g. {self.file(rows[0])}",
                where=self._where,
                todo="Say where the paths begin: root: ...",
            )


def _list_file(path: Path, split: str | None) -> Path:
    if split is None:
        return path
    file = path / f"{split}.txt"
    if not file.is_file():
        found = sorted(p.stem for p in path.glob("*.txt")) if path.is_dir() else []
        raise UserError(
            f"no list {split}.txt",
            where=str(path),
            todo=f"There is {', '.join(found) or 'no list'}.",
        )
    return file


def _lines(text: str) -> list[tuple[int, str]]:
    lines = ((n, line.strip(" \r")) for n, line in enumerate(text.split("\n"), 1))
    return [(n, line) for n, line in lines if line.strip() and not line.startswith("#")]


def _parsed(
    lines: list[tuple[int, str]], separator: str | None, where: str
) -> tuple[list[str], list[list[str]], list[int]]:
    sign = _SEPARATORS[separator] if separator else _seen_separator([line for _, line in lines])
    paths: list[str] = []
    labels: list[list[str]] = []
    rows = _split_plain if sign == " " else _split_quoted
    found = rows([line for _, line in lines], sign)
    for (number, _), (path, *rest) in zip(lines, found, strict=True):
        if not path:
            raise UserError("a line without a path", where=f"{where}:{number}")
        paths.append(path.replace("\\", "/"))
        labels.append([text for text in rest if text])
    return paths, labels, [number for number, _ in lines]


def _seen_separator(lines: Sequence[str]) -> str:
    """A tab or comma that follows the path in most lines; otherwise a space."""
    for sign in ("\t", ","):
        if sum(sign in line for line in lines) * 2 > len(lines):
            return sign
    return " "


def _split_quoted(lines: Sequence[str], sign: str) -> Iterator[list[str]]:
    for line in lines:
        yield [part.strip() for part in next(csv.reader([line], delimiter=sign))]


def _split_plain(lines: Sequence[str], sign: str) -> Iterator[list[str]]:
    """Split at spaces, but not inside of quotes nor before the ending of an image file."""
    for line in lines:
        if '"' in line:
            parts = next(csv.reader([line], delimiter=sign, skipinitialspace=True))
            yield [part for part in parts if part]
            continue
        words = line.split()
        if len(words) > 1 and not words[0].lower().endswith(IMAGE_EXTENSIONS):
            ends = [k for k, word in enumerate(words) if word.lower().endswith(IMAGE_EXTENSIONS)]
            if ends:
                last = line.index(words[ends[0]]) + len(words[ends[0]])
                yield [line[:last], *words[ends[0] + 1 :]]
                continue
        yield words


def _task_of(labels: list[list[str]]) -> str:
    most = max(len(row) for row in labels)
    if most == 0:
        return "generation"
    return "classification" if most == 1 else "multilabel"
