"""Where raw records come from: each mix-in opens one kind of storage for the task of its class.

A raw record is a sample of that storage with files still closed. What a storage can be told beyond
`data_path` and `classes` is told by overriding `open_storage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvtrainer.data.datasets.array_file import ArrayFile
from cvtrainer.data.datasets.audio_folder import AudioFolder
from cvtrainer.data.datasets.coco import Coco
from cvtrainer.data.datasets.image_folder import ImageFolder
from cvtrainer.data.datasets.series import SERIES_EXTENSIONS, SeriesFile
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.datasets.text_lines import TextFolder
from cvtrainer.data.datasets.voc import Voc
from cvtrainer.data.index import Numbers
from cvtrainer.data.sample import Sample


class FolderStorage:
    """Class folders of pictures, sounds or texts, as the task's input is."""

    def __init__(self, data_path: str | Path, *, classes: Sequence[str] | None = None) -> None:
        self.storage = self.open_storage(Path(data_path), classes)

    def open_storage(self, data_path: Path, classes: Sequence[str] | None) -> StoredDataset:
        """The data set that holds the records."""
        kind = getattr(self, "input_kind", "image")
        if kind == "sound":
            return AudioFolder(data_path, classes=classes)
        if kind == "text":
            return TextFolder(data_path, classes=classes)
        return ImageFolder(data_path, classes=classes, task=_task(self))

    @property
    def classes(self) -> dict[str, int]:
        """Class name to class number."""
        return self.storage.classes

    @property
    def labels(self) -> Numbers | None:
        """The class number of each sample, where a sample has one."""
        return self.storage.labels

    @property
    def groups(self) -> Sequence[Any] | None:
        """What keeps samples together in a split, where the data says it."""
        return self.storage.groups

    def _len(self) -> int:
        return len(self.storage)

    def _get_raw(self, idx: int) -> Sample:
        return self.storage.record(idx)


class TableStorage(FolderStorage):
    """A table: CSV, TSV, Excel, JSON, JSON lines or Parquet, columns found by their names."""

    def open_storage(self, data_path: Path, classes: Sequence[str] | None) -> StoredDataset:
        """The data set that holds the rows."""
        return Table(data_path, classes=classes, task=_task(self))


class SingleFileStorage(FolderStorage):
    """Everything in one file: arrays (npz, npy, IDX, HDF5), or series (`.ts`, `.arff`, `.tsf`)."""

    def open_storage(self, data_path: Path, classes: Sequence[str] | None) -> StoredDataset:
        """The data set that holds the arrays or series."""
        if data_path.suffix.lower() in SERIES_EXTENSIONS:
            return SeriesFile(data_path, classes=classes, task=_task(self))
        return ArrayFile(data_path, classes=classes, task=_task(self))


class CocoStorage(FolderStorage):
    """A COCO JSON file, or a folder with one."""

    def open_storage(self, data_path: Path, classes: Sequence[str] | None) -> StoredDataset:
        """The data set that holds the pictures and their objects."""
        return Coco(data_path, classes=classes, task=_task(self))


class VocStorage(FolderStorage):
    """A folder in the Pascal VOC layout."""

    def open_storage(self, data_path: Path, classes: Sequence[str] | None) -> StoredDataset:
        """The data set that holds the pictures and their objects."""
        return Voc(data_path, classes=classes, task=_task(self))


def _task(owner: object) -> str:
    """The task of the class that the storage is mixed into."""
    task: str = getattr(owner, "task", "classification")
    return task
