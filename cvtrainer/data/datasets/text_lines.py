"""Texts with a class: one sentence a line in a file per class, or one file per text.

Lines are read when the set is opened, because their number is not known before; whole files are
read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.image_folder import split_folder
from cvtrainer.data.datasets.reading.labelled_files import (
    LabelledFile,
    class_order,
    files_below,
    files_by_folder,
    files_by_name,
)
from cvtrainer.data.datasets.reading.text_files import decode_text, known_encoding, lines_of
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample

TEXT_EXTENSIONS = (".txt",)


class TextLines(StoredDataset):
    """One sentence a line, one file per class: `x` str, `class_id`; empty lines are no samples.

    Without `pattern` the files of the folder are the `.txt` ones, each named after its class, or
    several with one name and different endings (`reviews.pos`, `reviews.neg`). `pattern` says it
    otherwise: `{label}-lines.csv`. `split` names a folder below `data_path`. The text is UTF-8
    unless `encoding` is given. meta.path is `file:line`.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        pattern: str | None = None,
        split: str | None = None,
        classes: Sequence[str] | None = None,
        encoding: str | None = None,
    ) -> None:
        root = split_folder(Path(data_path), split)
        encoding = known_encoding(encoding, str(root))
        if pattern is None:
            files = _class_files(root)
        else:
            files = files_by_name(root, None, pattern)
        names = class_order([file.label for file in files], classes, str(root))
        texts: list[str] = []
        paths: list[str] = []
        counts: list[int] = []
        for file in files:
            numbered = _numbered_lines(root / file.path, encoding)
            texts += [text for _, text in numbered]
            paths += [f"{file.path}:{line}" for line, _ in numbered]
            counts.append(len(numbered))
        numbers = np.array([names.index(file.label) for file in files], dtype=np.int64)
        columns = {"path": paths, "text": texts, "class_id": np.repeat(numbers, counts)}
        super().__init__(Index.of(columns), root=root, task="classification", classes=names)

    def input(self, row: int) -> str:
        """The sentence of that row."""
        text: str = self.index.value("text", row)
        return text


class TextFolder(StoredDataset):
    """One text a file: `x` str, `class_id`; the folder is the class, or `pattern` tells it."""

    def __init__(
        self,
        data_path: str | Path,
        *,
        pattern: str | None = None,
        split: str | None = None,
        classes: Sequence[str] | None = None,
        encoding: str | None = None,
        extensions: Sequence[str] = TEXT_EXTENSIONS,
    ) -> None:
        root = split_folder(Path(data_path), split)
        self.encoding = known_encoding(encoding, str(root))
        if pattern is None:
            files = files_by_folder(root, extensions)
        else:
            files = files_by_name(root, extensions, pattern)
        names = class_order([file.label for file in files], classes, str(root))
        number = {name: k for k, name in enumerate(names)}
        columns = {
            "path": [file.path for file in files],
            "class_id": np.array([number[file.label] for file in files], dtype=np.int64),
        }
        if files[0].group is not None:
            columns["group"] = [file.group for file in files]
        super().__init__(Index.of(columns), root=root, task="classification", classes=names)

    def input(self, row: int) -> str:
        """The text of that row's file."""
        name = self.file(row)
        text = decode_text(Encoded(name).read(), name, self.encoding)
        if not text.strip():
            raise BadSample("the text is empty", kind="empty", where=name)
        return text


def _class_files(root: Path) -> list[LabelledFile]:
    """One file per class, directly in that folder."""
    if not root.is_dir():
        raise UserError(
            "not a folder" if root.exists() else "no such data folder",
            where=str(root),
            todo="Give the folder that holds one file of lines per class.",
        )
    names = [name for name in files_below(root, None) if "/" not in name]
    plain = [name for name in names if name.lower().endswith(TEXT_EXTENSIONS)]
    if len(plain) > 1:
        return [LabelledFile(name, Path(name).stem) for name in plain]
    by_stem: dict[str, list[str]] = {}
    for name in names:
        if Path(name).suffix:
            by_stem.setdefault(Path(name).stem, []).append(name)
    families = [family for family in by_stem.values() if len(family) > 1]
    if len(families) != 1:
        what = "several sets of files" if families else "no files"
        raise UserError(
            f"{what} that could be one file per class",
            where=str(root),
            todo="Name them <class>.txt, or give pattern, e.g. reviews.{label}.",
        )
    return [LabelledFile(name, Path(name).suffix[1:]) for name in families[0]]


def _numbered_lines(path: Path, encoding: str | None) -> list[tuple[int, str]]:
    """The lines of that file that say something, with their numbers."""
    try:
        text = decode_text(path.read_bytes(), str(path), encoding)
    except BadSample as error:
        raise UserError(error.what, where=error.where, todo=error.todo) from error
    return [(k, line) for k, line in enumerate(lines_of(text), start=1) if line.strip()]
