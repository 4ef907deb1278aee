"""CIFAR-10 as a data set of one's own: what `DataAdapter` asks for, and nothing more.

With `data_path` it reads the real files (python version) from there; without, it uses a small
generated set of the same form, so that the demo runs on a machine without a network.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import DataAdapter
from cvtrainer.data.picture_world import ALL_SHAPES, tiny_cifar10

FILES = {"train": [f"data_batch_{n}" for n in range(1, 6)], "val": ["test_batch"]}
TINY_COUNTS = {"train": 1000, "val": 200}


class CIFAR10DataAdapter(DataAdapter):
    """Samples `{"x": 32x32 RGB uint8, "target": {"class_id": 0..9}}`."""

    draws_randomly = False

    def __init__(
        self,
        data_path: str | Path | None = None,
        *,
        split: str = "train",
        limit: int | None = None,
    ) -> None:
        split = "val" if split == "test" else split
        if split not in FILES:
            raise UserError(f"CIFAR-10 has no split {split!r}", todo="Use train, val or test.")
        if data_path is None:
            count = limit or TINY_COUNTS[split]
            rows, labels = tiny_cifar10("train" if split == "train" else "test", count=count)
            names = list(ALL_SHAPES)
        else:
            rows, labels, names = _read(Path(data_path), FILES[split])
        self._pictures = rows[:limit].reshape(-1, 3, 32, 32)
        self._labels = labels[:limit]
        self.classes: dict[str, int] = {name: number for number, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._labels)

    def _load_sample(self, idx: int) -> dict[str, Any]:
        picture = np.ascontiguousarray(self._pictures[idx].transpose(1, 2, 0))
        return {"x": picture, "target": {"class_id": int(self._labels[idx])}}


def _read(folder: Path, files: list[str]) -> tuple[np.ndarray, list[int], list[str]]:
    inner = folder / "cifar-10-batches-py"
    place = inner if inner.is_dir() else folder
    batches = [_load(place / name) for name in files]
    names = [name.decode() for name in _load(place / "batches.meta")[b"label_names"]]
    labels = [label for batch in batches for label in batch[b"labels"]]
    return np.concatenate([batch[b"data"] for batch in batches]), labels, names


def _load(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            record: dict[bytes, Any] = _OnlyArrays(file, encoding="bytes").load()
    except FileNotFoundError as error:
        raise UserError(
            "no such CIFAR-10 file",
            where=str(path),
            todo="Give the folder that holds cifar-10-batches-py, or leave data_path out.",
        ) from error
    except (pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"not a CIFAR-10 batch ({error})", where=str(path)) from error
    return record


class _OnlyArrays(pickle.Unpickler):
    """A pickle may run anything when it is loaded; these files need arrays and nothing else."""

    _NEEDED = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})

    def __init__(self, file: IO[bytes], *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("numpy", "_codecs") and name in self._NEEDED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
