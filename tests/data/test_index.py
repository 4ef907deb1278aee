"""The index: columns of every kind come back, from memory and from disk; notes travel along."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.index import Index


def _index() -> Index:
    return Index.of(
        {
            "path": ["a", "größe", None],
            "class_id": np.asarray([2, 0, 1], dtype=np.int64),
            "boxes": [[[1.0, 2.0, 3.0, 4.0]], [], None],
            "class_ids": [[1, 2], [], [0]],
        }
    )


@pytest.mark.parametrize("where", ["memory", "disk", "pickled"])
def test_every_kind_of_column_comes_back(tmp_path: Path, where: str) -> None:
    index = _index()
    if where != "memory":
        index = index.write(tmp_path / "inner" / "i.arrow")
    if where == "pickled":
        index = pickle.loads(pickle.dumps(index))
        assert index.path == tmp_path / "inner" / "i.arrow"
    assert len(index) == 3
    assert "boxes" in index
    assert index.value("path", 1) == "größe"
    assert index.value("path", 2) is None
    assert index.numbers("class_id").tolist() == [2, 0, 1]
    assert index.value("boxes", 0) == [[1.0, 2.0, 3.0, 4.0]]
    assert index.value("boxes", 2) is None
    assert index.value("class_ids", 0).tolist() == [1, 2]
    assert index.take([2, 0]).numbers("class_id").tolist() == [1, 2]


def test_notes_are_written_along(tmp_path: Path) -> None:
    index = _index().noted(b"a", b"1").noted(b"b", b"2")
    assert index.write(tmp_path / "i.arrow").note(b"a") == b"1"
    assert Index.open(tmp_path / "i.arrow").note(b"b") == b"2"
    assert Index.open(tmp_path / "i.arrow").note(b"c") is None


def test_what_is_no_index_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such index file"):
        Index.open(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello, this is no Arrow file")
    with pytest.raises(UserError, match="not an Arrow file"):
        Index.open(tmp_path / "text")
