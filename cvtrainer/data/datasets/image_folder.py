"""A folder of class folders: `data/train/<class>/picture.jpg`; no list file is needed.

Classes are the sorted folder names unless `classes` fixes them, which binds a validation folder
to the numbering of training. The list of files is one block of bytes, so that worker processes
share it and ten million names cost no Python objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.decode import IMAGE_EXTENSIONS, read_image
from cvtrainer.data.sample import Sample


class ImageFolder(DataAdapter):
    """Samples `{"x": RGB uint8, "target": {"class_id": n}, "meta": {"index", "path"}}`."""

    draws_randomly = False

    def __init__(
        self,
        data_path: str | Path,
        *,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.folder = Path(data_path)
        self._extensions = tuple(_with_dot(e).lower() for e in extensions)
        found = _class_folders(self.folder)
        names = self._class_names(found, classes)
        self.classes: dict[str, int] = {name: number for number, name in enumerate(names)}
        """Class name to class number: the map that binds validation, evaluation and prediction."""
        self._paths, self._labels = self._collect(found)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of their numbers."""
        return tuple(self.classes)

    @property
    def labels(self) -> np.ndarray:
        """The class number of each sample."""
        return self._labels

    def __len__(self) -> int:
        return len(self._paths)

    def _load_sample(self, idx: int) -> Sample:
        path = self.folder / self._paths[idx]
        return {
            "x": read_image(path),
            "target": {"class_id": int(self._labels[idx])},
            "meta": {"index": idx, "path": str(path)},
        }

    def _class_names(self, found: list[str], classes: Sequence[str] | None) -> list[str]:
        if classes is None:
            if len(found) == 1:
                raise UserError(
                    f"only one class folder ({found[0]}), so there is nothing to tell apart",
                    where=str(self.folder),
                    todo="Add a folder for each further class.",
                )
            return found
        names = list(classes)
        if len(set(names)) != len(names):
            raise UserError("`classes` names a class twice", where=str(self.folder))
        strangers = [name for name in found if name not in names]
        if strangers:
            raise UserError(
                f"class folder {strangers[0]} is not among the {len(names)} known classes",
                where=str(self.folder),
                todo="Rename or remove the folder, or train with this class.",
            )
        return names

    def _collect(self, found: list[str]) -> tuple[PathTable, np.ndarray]:
        paths: list[str] = []
        labels: list[int] = []
        for name in found:
            before = len(paths)
            paths += [f"{name}/{p}" for p in _image_files(self.folder / name, self._extensions)]
            if len(paths) == before:
                raise UserError(
                    f"class folder {name} holds no image ({' '.join(self._extensions)})",
                    where=str(self.folder),
                    todo="Add images or remove the folder.",
                )
            labels += [self.classes[name]] * (len(paths) - before)
        return PathTable(paths), np.asarray(labels, dtype=np.int64)


class PathTable:
    """Many strings in two arrays: the bytes, and where each one ends."""

    def __init__(self, paths: Sequence[str]) -> None:
        encoded = [os.fsencode(path) for path in paths]
        lengths = np.fromiter((len(e) for e in encoded), dtype=np.int64, count=len(encoded))
        self._ends = np.cumsum(lengths)
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        start = int(self._ends[number - 1]) if number else 0
        return os.fsdecode(self._bytes[start : int(self._ends[number])].tobytes())


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(
            "no such data folder" if not folder.exists() else "not a folder",
            where=str(folder),
            todo="Give a folder that holds one folder of images per class.",
        )
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise UserError(
            "the data folder holds no class folders",
            where=str(folder),
            todo="Put the images of each class into a folder named after the class.",
        )
    return names


def _image_files(folder: Path, extensions: tuple[str, ...]) -> Iterator[str]:
    """Image files below that folder, sorted, relative to it."""
    for here, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        inner = os.path.relpath(here, folder)
        for name in sorted(files):
            if name.lower().endswith(extensions) and not name.startswith("."):
                yield name if inner == "." else f"{Path(inner).as_posix()}/{name}"


def _with_dot(extension: str) -> str:
    return extension if extension.startswith(".") else f".{extension}"
