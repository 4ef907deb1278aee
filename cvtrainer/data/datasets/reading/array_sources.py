"""Files that hold arrays, opened when somebody looks: npy, npz, IDX, HDF5, pickles of arrays.

What can be mapped is mapped (npy, uncompressed members of npz, plain IDX), so that processes share
it; compressed files are unpacked once per process. HDF5 files are opened per process, because
handles do not survive a fork. Pickles can run any code and are read only on explicit trust.
"""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import threading
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib import format as npy_format

from cvtrainer.core.errors import UserError

Arrays = Mapping[str, Any]

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_PICKLE_ENDINGS = (".pkl", ".pickle")


class ArraySource(Protocol):
    """Arrays by name; each can be indexed by row and has a shape and a dtype."""

    def arrays(self) -> Arrays: ...


class LazyArrays:
    """The arrays of a file or folder, opened once in each process and never pickled."""

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        self.path = path
        self.trust_pickle = trust_pickle
        self._lock = threading.Lock()
        self._opened: Arrays | None = None
        self._process = -1

    def arrays(self) -> Arrays:
        """The arrays by name."""
        if self._opened is None or (self._process != os.getpid() and _is_hdf5(self.path)):
            with self._lock:
                if self._opened is None or self._process != os.getpid():
                    self._opened = open_arrays(self.path, trust_pickle=self.trust_pickle)
                    self._process = os.getpid()
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "trust_pickle": self.trust_pickle}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], trust_pickle=state["trust_pickle"])  # type: ignore[misc]


def open_arrays(path: Path, *, trust_pickle: bool = False) -> Arrays:
    """The arrays in that file, or in the array files of that folder, by name."""
    if path.is_dir():
        return _folder(path, trust_pickle)
    if not path.is_file():
        raise UserError("no such array file", where=str(path))
    try:
        return _open_file(path, trust_pickle)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the arrays cannot be read ({reason})", where=str(path)) from error


def is_array_file(path: Path) -> bool:
    """Whether the name is that of a file of arrays."""
    name = path.name.lower()
    return name.endswith((".npy", ".npz", ".h5", ".hdf5")) or _is_idx(name)


def _open_file(path: Path, trust_pickle: bool) -> Arrays:
    name = path.name.lower()
    if name.endswith(".npy"):
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
    if name.endswith(".npz"):
        return _npz(path)
    if _is_hdf5(path):
        return _hdf5(path)
    if _is_idx(name):
        return {path.name.split(".")[0]: read_idx(path)}
    if name.endswith(_PICKLE_ENDINGS) or trust_pickle:
        return _pickled(path, trust_pickle)
    raise UserError(
        "not a file of arrays", where=str(path), todo="Use .npy, .npz, .h5 or IDX (.gz)."
    )


def _folder(folder: Path, trust_pickle: bool) -> Arrays:
    """All array files of a folder, each named after its file."""
    if (folder / "batches.meta").is_file() or (folder / "meta").is_file():
        return _cifar(folder, trust_pickle)
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if is_array_file(path) and path.is_file():
            opened = open_arrays(path)
            for name, array in opened.items():
                key = name if len(opened) == 1 else f"{path.stem}/{name}"
                if key in found:
                    raise UserError(
                        f"two files hold {key}", where=str(folder), todo="Name one file."
                    )
                found[key] = array
    if not found:
        raise UserError("the folder holds no files of arrays", where=str(folder))
    return found


def _npz(path: Path) -> Arrays:
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED:
                found[name] = _mapped_member(path, member)
            else:
                with archive.open(member) as file:
                    found[name] = npy_format.read_array(file, allow_pickle=False)
    return found


def _mapped_member(path: Path, member: zipfile.ZipInfo) -> Any:
    """An uncompressed member as it lies in the file."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(30)
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        file.seek(member.header_offset + 30 + name_length + extra_length)
        version = npy_format.read_magic(file)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, in_fortran_order, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("an array of Python objects")
        if 0 in shape:
            return np.zeros(shape, dtype)
        start = file.tell()
    if in_fortran_order:
        return np.memmap(path, dtype, "r", start, shape, "F")
    return np.memmap(path, dtype, "r", start, shape)


def read_idx(path: Path) -> Any:
    """The array of an IDX file; a plain one is mapped, a gzipped one unpacked."""
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
            raise ValueError("not an IDX file")
        shape = struct.unpack(f">{magic[3]}I", file.read(4 * magic[3]))
        dtype = np.dtype(_IDX_TYPES[magic[2]])
        size = int(np.prod(shape)) * dtype.itemsize
        data = file.read() if packed else b""
    there = len(data) if packed else path.stat().st_size - 4 - 4 * len(shape)
    if there != size:
        raise ValueError(f"{there} bytes of data instead of {size}")
    if packed:
        return np.frombuffer(data, dtype).reshape(shape)
    return np.memmap(path, dtype, "r", 4 + 4 * len(shape), shape)


def _hdf5(path: Path) -> Arrays:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            "HDF5 files need h5py, which is not installed",
            where=str(path),
            todo='Run: pip install "cvtrainer[data]"',
        ) from error
    file = h5py.File(path, "r")
    found: dict[str, Any] = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape:
            found[name] = node.asstr() if node.dtype.kind == "O" else node

    file.visititems(collect)
    return found


def _pickled(path: Path, trusted: bool) -> Arrays:
    record = load_pickle(path, trusted)
    if not isinstance(record, Mapping):
        raise UserError("the pickle holds no arrays by name", where=str(path))
    return {
        str(_text(name)): np.asarray(value)
        for name, value in record.items()
        if isinstance(value, np.ndarray | list) and len(value)
    }


def load_pickle(path: Path, trusted: bool) -> Any:
    """What a pickle holds, on explicit trust."""
    if not trusted:
        raise UserError(
            "a pickle can run any code when it is read",
            where=str(path),
            todo="If you trust whoever made it, say trust_pickle: true; or save it as .npz.",
        )
    try:
        with path.open("rb") as file:
            return pickle.load(file, encoding="bytes")
    except Exception as error:
        raise UserError(f"the pickle cannot be read ({error})", where=str(path)) from error


def _cifar(folder: Path, trusted: bool) -> Arrays:
    """The python version of CIFAR-10 or CIFAR-100: rows of three planes, and label names."""
    ten = (folder / "batches.meta").is_file()
    files = {
        "train": sorted(folder.glob("data_batch_*")) if ten else [folder / "train"],
        "test": [folder / ("test_batch" if ten else "test")],
    }
    label_key = b"labels" if ten else b"fine_labels"
    meta = load_pickle(folder / ("batches.meta" if ten else "meta"), trusted)
    names = meta[b"label_names" if ten else b"fine_label_names"]
    found: dict[str, Any] = {"class_names": np.asarray([_text(name) for name in names])}
    for part, paths in files.items():
        records = [load_pickle(path, trusted) for path in paths if path.is_file()]
        if records:
            rows = np.concatenate([record[b"data"] for record in records])
            labels = np.concatenate([record[label_key] for record in records])
            found[f"{part}_images"] = rows.reshape(-1, 3, 32, 32)
            found[f"{part}_labels"] = labels
    return found


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in (".h5", ".hdf5")


def _is_idx(name: str) -> bool:
    plain = name.removesuffix(".gz")
    return plain.endswith(("-ubyte", ".idx", ".ubyte")) or "-idx" in plain or ".idx" in plain
