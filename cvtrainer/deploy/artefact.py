"""An artefact on the disk: a file, or a folder where its target writes several."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cvtrainer.core.files import write_error


def files_of(artefact: Path) -> dict[str, Path]:
    """Its files by what follows its name."""
    if not artefact.is_dir():
        return {"": artefact}
    found = sorted(one for one in artefact.rglob("*") if one.is_file())
    return {f"/{one.relative_to(artefact).as_posix()}": one for one in found}


def size_of(artefact: Path) -> int:
    """Bytes of all its files."""
    return sum(file.stat().st_size for file in files_of(artefact).values())


def digests_of(artefact: Path) -> dict[str, str]:
    """SHA-256 of each of its files, by what follows its name."""
    found = {}
    for rest, file in files_of(artefact).items():
        with open(file, "rb") as opened:
            found[rest] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def changed_files(artefact: Path, digests: Mapping[str, str]) -> list[str]:
    """Those that are no longer what they were, or are gone; a folder may get further ones."""
    now = digests_of(artefact)
    return [f"{artefact.name}{rest}" for rest, digest in digests.items() if now.get(rest) != digest]


def remove_artefact(artefact: Path) -> None:
    """It may be missing."""
    if artefact.is_dir():
        shutil.rmtree(artefact)
    else:
        artefact.unlink(missing_ok=True)


def place_artefact(made: Path, path: Path) -> None:
    """Bring a whole one to where it belongs, or leave nothing there."""
    try:
        shutil.move(made, path)
    except OSError as error:
        remove_artefact(path)
        raise write_error(path, error) from error


def rename_artefact(artefact: Path, name: Path) -> Path:
    """Give it that name; what had it before goes."""
    if artefact.is_dir() or name.is_dir():
        remove_artefact(name)
    os.replace(artefact, name)
    return name
