"""Artefacts on the disk: whole or absent, and known by what is in them."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import RunFailed
from cvtrainer.deploy.artefact import changed_files, digests_of, place_artefact, rename_artefact


def test_a_full_disk_is_told_and_nothing_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = tmp_path / "made", tmp_path / "there" / "model"
    made.mkdir()
    (made / "graph").write_bytes(b"1234")
    path.parent.mkdir()

    def half(source: Any, target: Path) -> None:
        target.mkdir()
        (target / "graph").write_bytes(b"12")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "move", half)
        with pytest.raises(RunFailed, match=r"the disk is full.*Free some space and start again"):
            place_artefact(made, path)
    assert not path.exists()
    place_artefact(made, path)
    assert (path / "graph").read_bytes() == b"1234"
    assert not made.exists()


def test_what_changed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "graph").write_bytes(b"one")
    (folder / "weights").write_bytes(b"two")
    digests = digests_of(folder)
    assert digests["/graph"] == hashlib.sha256(b"one").hexdigest()
    (folder / "engine").write_bytes(b"built later")
    assert changed_files(folder, digests) == []
    (folder / "graph").write_bytes(b"another")
    (folder / "weights").unlink()
    assert changed_files(folder, digests) == ["model/graph", "model/weights"]
    (tmp_path / "file").write_bytes(b"whole")
    assert rename_artefact(tmp_path / "file", folder) == folder
    assert folder.read_bytes() == b"whole"
