"""Checkpoints as folders, to which each process writes the parts of tensors that it holds.

`shared.pth` is an ordinary checkpoint with a mark in place of each tensor in pieces; those lie in
the files of torch.distributed.checkpoint, which put them together again for any number of
processes. The manifest comes last and holds the checksum of every file. The folder is filled under
another name and renamed, so it is whole or absent; a file of its name makes room for it.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import secrets
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import RunFailed
from cvtrainer.core.files import make_folder, sync_folder, write_error, write_whole
from cvtrainer.ddp.pieces import in_pieces
from cvtrainer.ddp.reduce import broadcast_object, gather_states
from cvtrainer.ddp.world import World
from cvtrainer.engine.checkpoint_file import DamagedCheckpointError, read_file, write_checkpoint
from cvtrainer.protocols import State

MANIFEST = "manifest.json"
_SHARED = "shared.pth"
_MARK = "tensor in pieces"
_BESIDE = "before"
_OF_INDEX: Mapping[str, tuple[str, ...]] = {
    "pathlib": ("Path", "PosixPath", "WindowsPath"),
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed.checkpoint.metadata": (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    ),
}


def write_shards(path: Path, state: State, world: World) -> None:
    """All ranks write their parts of the state; on return the folder is whole on each of them."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    name = broadcast_object(f".{path.name}.{secrets.token_hex(4)}.part", world)
    place = path.with_name(name)
    if world.rank == 0:
        _drop_parts(path)
        make_folder(place)
    cut: dict[str, Tensor] = {}
    shared = _marked(state, cut, "")
    try:
        save(cut, storage_writer=FileSystemWriter(place))
        sums = _checksums(place, f"__{world.rank}_*")
        every: dict[str, str] = {}
        for found in gather_states(sums, world):
            every.update(found)
        failure = _complete(path, place, shared, every) if world.rank == 0 else None
    except CheckpointException as error:
        shutil.rmtree(place, ignore_errors=True)
        cause = next(iter(error.failures.values()))[0]
        if isinstance(cause, OSError):
            raise write_error(path, cause) from error
        raise
    failure = broadcast_object(failure, world)
    if failure is not None:
        raise RunFailed(failure)


def _complete(path: Path, place: Path, shared: State, sums: dict[str, str]) -> str | None:
    """The first process's part of it: what all share, the manifest, the name. What went wrong."""
    try:
        write_checkpoint(place / _SHARED, shared)
        sums |= _checksums(place, _SHARED) | _checksums(place, ".metadata")
        owner = {key: shared.get(key) for key in ("run_id", "stage")}
        write_whole(place / MANIFEST, json.dumps({**owner, "files": sums}, indent=1))
        sync_folder(place)
        _rename(place, path)
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        return str(write_error(path, error))
    except RunFailed as error:
        shutil.rmtree(place, ignore_errors=True)
        return str(error)
    return None


def _rename(place: Path, path: Path) -> None:
    """What has the name is kept under another one until the new folder has it."""
    before = path.with_name(f"{path.stem}.{_BESIDE}{path.suffix}")
    if path.exists():
        remove_checkpoint(before)
        path.rename(before)
    place.rename(path)
    sync_folder(path.parent)
    remove_checkpoint(before)


def remove_checkpoint(path: Path) -> None:
    """Remove a file or a folder; one that is not there is gone already."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_shards(path: Path) -> State:
    """The state, with whole tensors in this process's memory."""
    manifest = _manifest(path)
    for name, digest in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise DamagedCheckpointError(f"{path}: {name} is missing")
        if _digest(file) != digest:
            raise DamagedCheckpointError(f"{path}: the content of {name} is not what was written")
    shared = read_file(path / _SHARED)
    return _unmarked(shared, _whole_tensors(path))  # type: ignore[no-any-return]


def owner_of(path: Path) -> tuple[str | None, str]:
    """Run id and stage of such a folder, without reading its tensors."""
    manifest = _manifest(path)
    return manifest.get("run_id"), str(manifest.get("stage", ""))


def _manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = f"{path}: this is not a whole checkpoint folder"
        files = sorted((path / "checkpoints").glob("*.pth"), key=lambda one: one.stat().st_mtime)
        if files and not (path / MANIFEST).exists():
            what = f"{path}: this is a run's folder; its newest checkpoint is {files[-1]}"
        raise DamagedCheckpointError(what) from error
    if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
        raise DamagedCheckpointError(f"{path}: its {MANIFEST} is not one of a checkpoint")
    return found


def _whole_tensors(path: Path) -> dict[str, Tensor]:
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = _reader(path)
    wanted: dict[str, Any] = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype)
        for key, entry in reader.read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    if wanted:
        with warnings.catch_warnings():  # that it loads in this process alone is what is wanted
            warnings.simplefilter("ignore", UserWarning)
            load(wanted, storage_reader=reader, no_dist=True)
    return wanted


def _reader(path: Path) -> Any:
    """torch's reader of such folders, which trusts the index less: a pickle could run anything."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

    class Reader(FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
            with (path / ".metadata").open("rb") as file:
                found: Metadata = _Index(file).load()
            found.storage_meta = found.storage_meta or StorageMeta()
            found.storage_meta.load_id = self.load_id
            return found

    return Reader(path)


class _Index(pickle.Unpickler):
    """Takes the records of torch's own index, sizes and dtypes, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if module in _OF_INDEX else None
        harmless = name in _OF_INDEX.get(module, ()) or isinstance(found, torch.dtype)
        if not harmless:
            raise DamagedCheckpointError(f"the index of a checkpoint names {module}.{name}")
        return found


def _marked(value: Any, cut: dict[str, Tensor], key: str) -> Any:
    """The state with marks for tensors in pieces, which are gathered in `cut`."""
    if in_pieces(value):
        cut[key] = value.detach()
        return {_MARK: key}
    if isinstance(value, Mapping):
        return {name: _marked(part, cut, f"{key}/{name}") for name, part in value.items()}
    if isinstance(value, list | tuple):
        parts = (_marked(part, cut, f"{key}/{place}") for place, part in enumerate(value))
        return type(value)(parts)
    return value


def _unmarked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {_MARK}:
            return tensors[value[_MARK]]
        return {name: _unmarked(part, tensors) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unmarked(part, tensors) for part in value)
    return value


def _checksums(folder: Path, pattern: str) -> dict[str, str]:
    return {file.name: _digest(file) for file in sorted(folder.glob(pattern))}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _drop_parts(path: Path) -> None:
    """What a run that was killed while writing this folder has left; one process writes here."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
