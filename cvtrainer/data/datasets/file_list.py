"""A text file that lists pictures, one a line, with their labels or values behind them.

`cats/1.jpg 0`, `"my cat.jpg",cat`, `a.png<tab>cat<tab>dog`: the separator is seen, paths may be
quoted, and a path with spaces needs no quotes where it ends like an image file. Lines that are
empty or begin with `#` are no samples.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.kept_index import IndexStore, Kept, stamp_of
from cvtrainer.data.datasets.reading.table_columns import encode, encode_lists, vectors
from cvtrainer.data.datasets.reading.table_reading import decode_whole
from cvtrainer.data.datasets.reading.text_files import known_encoding
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.index import Index

_SEPARATORS = {"tab": "\t", "comma": ",", "space": " "}
_LOOK_AT = 20
_BLOCK = 1 << 16
_DECIDING_LINES = 1000
_LABELS = pa.large_list(pa.large_string())
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
            lines = read_lines(self.list_file, separator, encoding)
        except OSError as error:
            raise UserError("no such list file", where=self._where) from error
        if not len(lines.paths):
            raise UserError("the list holds no file", where=self._where)
        most = int(lines.counts.max())
        task = task or ("generation", "classification", "multilabel")[min(most, 2)]
        columns: dict[str, Any] = {"path": lines.paths}
        names: list[str] = []
        if task == "classification":
            columns["class_id"], names = encode(self._one_each(lines), classes, self._where)
        elif task == "multilabel":
            self._refuse_flags(lines)
            columns["class_ids"], names = encode_lists(lines.labels, classes, None, self._where)
        elif task == "regression":
            columns["value"] = self._values(lines, most)
        return store.keep(Index.of(columns), [stamp], {"task": task, "classes": names})

    def _refuse_flags(self, lines: ListedFiles) -> None:
        """A column of 0 and 1 per class is no list of class names."""
        last = int(np.flatnonzero(lines.counts > 1)[-1]) if (lines.counts > 1).any() else -1
        names = lines.labels[last].as_py() if last >= 0 else []
        if len(names) > len(set(names)) and set(names) <= {"0", "1", "-1"}:
            raise UserError(
                "labels are 0 and 1 (or -1 and 1) for each class, not names",
                where=f"{self._where}:{lines.numbers[last]}",
                todo="Save it as CSV with the class names in its first line, for type: table.",
            )

    def _one_each(self, lines: ListedFiles) -> pa.ChunkedArray:
        """The label of each line; None where it has none."""
        too_many = np.flatnonzero(lines.counts > 1)
        if len(too_many):
            row = int(too_many[0])
            raise UserError(
                f"{lines.counts[row]} labels where one is expected",
                where=f"{self._where}:{lines.numbers[row]}",
                todo="Say task: multilabel or task: regression, or quote what has spaces.",
            )
        places = np.cumsum(lines.counts) - 1
        return pc.list_flatten(lines.labels).take(pa.array(places, mask=lines.counts == 0))

    def _values(self, lines: ListedFiles, width: int) -> Any:
        if not width:
            raise UserError("no line has a value", where=self._where)
        texts = pc.list_flatten(lines.labels)
        rows = np.repeat(np.arange(len(lines.counts)), lines.counts)
        try:
            flat = texts.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid as error:
            place, text = next((k, t) for k, t in enumerate(texts.to_pylist()) if not _is_number(t))
            raise UserError(
                f"{text!r} is no number", where=f"{self._where}:{lines.numbers[rows[place]]}"
            ) from error
        values = np.full((len(lines.counts), width), np.nan)
        firsts = np.cumsum(lines.counts) - lines.counts
        values[rows, np.arange(len(rows)) - firsts[rows]] = flat
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


class ListedFiles(NamedTuple):
    """The lines of a list that name a file: path, labels, how many, and the number of the line."""

    paths: pa.ChunkedArray
    labels: pa.ChunkedArray
    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]


def read_lines(file: Path, separator: str | None, encoding: str | None) -> ListedFiles:
    """All lines of that list, in blocks, so that ten million lines need no Python objects each."""
    paths: list[pa.Array] = []
    labels: list[pa.Array] = []
    numbers: list[NDArray[np.int64]] = []
    sign = _SEPARATORS[separator] if separator else None
    for block in _blocks(file, encoding):
        texts = [line for _, line in block]
        sign = sign or _seen_separator(texts[:_DECIDING_LINES])
        rows = list((_split_plain if sign == " " else _split_quoted)(texts, sign))
        for (number, _), row in zip(block, rows, strict=True):
            if not row[0]:
                raise UserError("a line without a path", where=f"{file}:{number}")
        paths.append(pa.array([row[0].replace("\\", "/") for row in rows], pa.large_string()))
        labels.append(pa.array([[t for t in row[1:] if t] for row in rows], _LABELS))
        numbers.append(np.asarray([number for number, _ in block], dtype=np.int64))
    cells = pa.chunked_array(labels, _LABELS)
    return ListedFiles(
        pa.chunked_array(paths, pa.large_string()),
        cells,
        pc.list_value_length(cells).to_numpy().astype(np.int64),
        np.concatenate(numbers) if numbers else np.empty(0, dtype=np.int64),
    )


def _blocks(file: Path, encoding: str | None) -> Iterator[list[tuple[int, str]]]:
    """Lines that are neither empty nor remarks, with their numbers."""
    known = known_encoding(encoding, str(file))
    try:
        with file.open(encoding=known or "utf-8-sig", newline="\n") as lines:
            numbered = ((n, line.strip(" \r\n")) for n, line in enumerate(lines, 1))
            kept = ((n, line) for n, line in numbered if line.strip() and line[0] != "#")
            while block := list(itertools.islice(kept, _BLOCK)):
                yield block
    except UnicodeError:
        decode_whole(file.read_bytes(), str(file), encoding)
        raise


def _seen_separator(lines: Sequence[str]) -> str:
    """A tab or comma that stands in most lines; otherwise a space."""
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
