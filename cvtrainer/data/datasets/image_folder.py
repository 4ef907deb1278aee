"""A folder of class folders: `data/train/<class>/picture.jpg`; no list file is needed.

Classes are the sorted folder names unless `classes` fixes them, which binds a validation folder
to the numbering of training. The walk holds the names of one folder at a time; that of a large
set is kept on disk, so that the next start reads times instead of ten million names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.kept_index import IndexStore, Kept, SourceStamp
from cvtrainer.data.datasets.reading.labelled_files import is_hidden
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.index import Index


class ImageFolder(StoredDataset):
    """Samples `{"x": RGB uint8, "target": {"class_id": n}, "meta": {"index", "path"}}`.

    `split` names a folder below `data_path` (`train`, `val`). `task: generation` asks for no class
    folders. `index_dir` is where the list of files of a large set is kept between starts; by
    default the cache folder of the user.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        classes: Sequence[str] | None = None,
        split: str | None = None,
        task: str = "classification",
        index_dir: str | Path | None = None,
    ) -> None:
        self.folder = split_folder(Path(data_path), split)
        self._extensions = tuple(_with_dot(e).lower() for e in extensions)
        with_classes = task != "generation"
        known = list(classes) if classes is not None else None
        arguments = {"reader": "image_folder", "extensions": self._extensions, "classes": known}
        store = IndexStore(index_dir, self.folder, {**arguments, "with_classes": with_classes})
        kept = store.find() or self._walk(known if with_classes else [], with_classes, store)
        super().__init__(
            kept.index,
            root=self.folder,
            task=task,
            classes=kept.learned["classes"],
            possible=("class_id",) if with_classes else (),
        )

    def input(self, row: int) -> Encoded:
        """The picture file of that row."""
        return Encoded(self.file(row))

    def file(self, row: int) -> str:
        """The picture file of that row; names that are no text of UTF-8 are kept as bytes."""
        path = self.index.value("path", row)
        return os.path.join(self.root, os.fsdecode(path) if isinstance(path, bytes) else path)

    def _walk(self, classes: list[str] | None, with_classes: bool, store: IndexStore) -> Kept:
        walk = FileWalk(self.folder, self._extensions)
        if not with_classes:
            _must_be_folder(self.folder)
            if not walk.add(""):
                raise UserError(self._no_image("the folder"), where=str(self.folder))
            return store.keep(Index.of({"path": walk.paths()}), walk.stamps, {"classes": []})
        found = _class_folders(self.folder)
        walk.enter()
        names = self._class_names(found, classes)
        counts = np.zeros(len(found), dtype=np.int64)
        for place, name in enumerate(found):
            counts[place] = walk.add(name)
            if not counts[place]:
                raise UserError(
                    self._no_image(f"class folder {name}"),
                    where=str(self.folder),
                    todo="Add images or remove the folder.",
                )
        numbers = {name: number for number, name in enumerate(names)}
        labels = np.repeat(np.asarray([numbers[name] for name in found], dtype=np.int64), counts)
        index = Index.of({"path": walk.paths(), "class_id": labels})
        return store.keep(index, walk.stamps, {"classes": names})

    def _no_image(self, what: str) -> str:
        return f"{what} holds no image ({' '.join(self._extensions)})"

    def _class_names(self, found: list[str], classes: list[str] | None) -> list[str]:
        if classes is None:
            if len(found) == 1:
                raise UserError(
                    f"only one class folder ({found[0]}), so there is nothing to tell apart",
                    where=str(self.folder),
                    todo="Add a folder for each further class.",
                )
            return found
        if len(set(classes)) != len(classes):
            raise UserError("`classes` names a class twice", where=str(self.folder))
        strangers = [name for name in found if name not in classes]
        if strangers:
            raise UserError(
                f"class folder {strangers[0]} is not among the {len(classes)} known classes",
                where=str(self.folder),
                todo="Rename or remove the folder, or train with this class.",
            )
        return classes


class FileWalk:
    """Collects the files below folders, each folder's own before those of its inner folders.

    Names become Arrow columns folder by folder: ten million of them never are Python objects at
    once. Links to folders are followed, except back to a folder that is being walked.
    """

    def __init__(self, root: Path, extensions: tuple[str, ...]) -> None:
        self._root = root
        self._extensions = extensions
        self._blocks: list[pa.Array] = []
        self._above: tuple[tuple[int, int], ...] = ()
        self.stamps: list[SourceStamp] = []

    def enter(self) -> None:
        """Say that the folders to come lie in the root, whose own files are left out."""
        self._above = (self._stamp(""),)

    def _stamp(self, folder: str) -> tuple[int, int]:
        """Write down the state of that folder, before it is read; return what identifies it."""
        path = os.path.join(self._root, folder) if folder else str(self._root)
        found = os.stat(path)
        absolute = os.path.abspath(path)
        self.stamps.append(
            SourceStamp(absolute, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        )
        return found.st_dev, found.st_ino

    def add(self, folder: str) -> int:
        """Collect what lies below that folder (relative to the root) and return how many files."""
        return self._add(folder, self._above)

    def paths(self) -> Any:
        """What was collected, relative to the root, as one Arrow column."""
        kind = pa.large_string()
        if any(block.type != kind for block in self._blocks):
            kind = pa.large_binary()
        return pa.chunked_array([block.cast(kind) for block in self._blocks], kind).combine_chunks()

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        path = os.path.join(self._root, folder) if folder else str(self._root)
        try:
            with os.scandir(path) as entries:
                yield from entries
        except PermissionError as error:
            raise UserError(
                "the folder may not be read", where=path, todo="Change its permissions."
            ) from error

    def _add(self, folder: str, above: tuple[tuple[int, int], ...]) -> int:
        identity = self._stamp(folder)
        if identity in above:
            return 0
        before = f"{folder}/" if folder else ""
        files: list[str] = []
        inner: list[str] = []
        for entry in self._entries(folder):
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                inner.append(entry.name)
            elif entry.name.lower().endswith(self._extensions):
                files.append(entry.name)
        files.sort()
        if files:
            self._blocks.append(_as_column([before + name for name in files]))
        count = len(files)
        for name in sorted(inner):
            count += self._add(before + name, (*above, identity))
        return count


def split_folder(folder: Path, split: str | None) -> Path:
    """The folder of that part of the data set; an error that lists what there is."""
    if split is None:
        return folder
    below = folder / split
    if folder.is_dir() and not below.is_dir():
        found = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not is_hidden(e.name))
        raise UserError(
            f"no folder for split {split!r}",
            where=str(folder),
            todo=f"There is {', '.join(found[:10]) or 'no folder'}.",
        )
    return below


def _as_column(names: list[str]) -> pa.Array:
    try:
        return pa.array(names, pa.large_string())
    except UnicodeEncodeError:
        return pa.array([os.fsencode(name) for name in names], pa.large_binary())


def _must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(
            "no such data folder" if not folder.exists() else "not a folder",
            where=str(folder),
            todo="Give a folder that holds one folder of images per class.",
        )


def _class_folders(folder: Path) -> list[str]:
    _must_be_folder(folder)
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not is_hidden(e.name))
    if not names:
        raise UserError(
            "the data folder holds no class folders",
            where=str(folder),
            todo="Put the images of each class into a folder named after the class.",
        )
    return names


def _with_dot(extension: str) -> str:
    return extension if extension.startswith(".") else f".{extension}"
