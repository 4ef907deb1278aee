"""An artefact that is a folder is packed file by file, and comes out as the folder it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.package.archive import Source
from cvtrainer.deploy.package.card import card_text
from cvtrainer.deploy.package.contents import CARD, Contents
from cvtrainer.deploy.package.model import load_package
from tests.deploy.package import made

FOLDER = "artefacts/model-fp32.ncnn"
FILES = {"model.param": b"7767517\n", "deeper/model.bin": bytes(range(256))}


def packed(path: Path, files: dict[str, bytes], **more: Source) -> Path:
    """A package whose only artefact is that folder."""
    told = made.contract(target="ncnn")
    parts: dict[str, Any] = {
        name: source for name, source in made.sources().items() if not name.startswith("artefacts/")
    }
    parts[CARD] = card_text("colours", {FOLDER: told}, {FOLDER: 264}, parameters=1).encode()
    parts |= {f"{FOLDER}/{name}": content for name, content in files.items()}
    parts[f"{FOLDER}.contract.json"] = json.dumps(told.plain()).encode()
    return made.write(path, {**parts, **more}, artefacts=[FOLDER])


def test_a_folder_comes_out_as_it_went_in(tmp_path: Path) -> None:
    contents = Contents.of(packed(tmp_path / "model.cvt", FILES))
    folder = contents.archive.write_below(FOLDER, tmp_path / "out")
    assert folder == tmp_path / "out" / FOLDER
    found = {
        one.relative_to(folder).as_posix(): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file()
    }
    assert found == FILES
    assert "- for `model-fp32.ncnn`: `ncnn`" in contents.text(CARD)


def test_what_its_runtime_cannot_open_is_one_error(tmp_path: Path) -> None:
    path = packed(tmp_path / "model.cvt", {"model.param": b"no layers"})
    with pytest.raises(UserError, match=r"ncnn|model\.param"):
        load_package(path)


def test_a_folder_without_files_and_one_beside_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"it lacks {FOLDER}"):
        Contents.of(packed(tmp_path / "empty.cvt", {}))
    beside: dict[str, Source] = {f"{FOLDER}2/model.bin": b"1"}
    with pytest.raises(UserError, match="which is not known"):
        Contents.of(packed(tmp_path / "more.cvt", FILES, **beside))
