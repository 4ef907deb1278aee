"""Sentences and documents: classes from files and folders, and no guessed encodings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.text_lines import TextFolder, TextLines
from cvtrainer.data.sample import BadSample


def test_one_file_per_class(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("fine\r\n\n好看\n \nlast without an end", "utf-8")
    (tmp_path / "bad.txt").write_bytes("\ufeffdull\u2028still dull\n".encode())
    (tmp_path / "LICENSE").write_text("free")
    texts = TextLines(tmp_path)
    assert texts.classes == {"bad": 0, "good": 1}
    assert [s["x"] for s in texts] == [
        "dull\u2028still dull",
        "fine",
        "好看",
        "last without an end",
    ]
    assert [s["target"]["class_id"] for s in texts] == [0, 1, 1, 1]
    assert texts[2]["meta"]["path"] == f"{tmp_path / 'good.txt'}:3"
    assert TextLines(tmp_path, classes=["good", "bad"])[1]["target"]["class_id"] == 0


def test_endings_and_patterns_tell_classes(tmp_path: Path) -> None:
    for name in ("reviews.pos", "reviews.neg", "notes.md"):
        (tmp_path / name).write_text(f"{name}\n")
    assert TextLines(tmp_path).class_names == ("neg", "pos")
    assert TextLines(tmp_path, pattern="reviews.{label}")[1]["x"] == "reviews.pos"
    (tmp_path / "notes.csv").write_text("a\n")
    with pytest.raises(UserError, match=r"several sets of files.*pattern"):
        TextLines(tmp_path)
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.txt").write_text("b\n")
    assert TextLines(tmp_path).class_names == ("a", "b")


def test_other_encodings_are_refused_with_the_line_unless_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain\n")
    (tmp_path / "b.txt").write_bytes("ok\n很好\n".encode("gbk"))
    with pytest.raises(UserError, match=r"b\.txt:2: byte 0x\w\w is not UTF-8.*gb18030") as error:
        TextLines(tmp_path)
    assert not isinstance(error.value, BadSample)
    assert [s["x"] for s in TextLines(tmp_path, encoding="gbk")] == ["plain", "ok", "很好"]
    (tmp_path / "b.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"b\.txt:1.*latin-1"):
        TextLines(tmp_path)
    assert TextLines(tmp_path, encoding="latin-1")[1]["x"] == "café"
    (tmp_path / "b.txt").write_text("wide\n", "utf-16")
    with pytest.raises(UserError, match="the text is utf-16, not UTF-8"):
        TextLines(tmp_path)
    (tmp_path / "a.txt").write_text("wide too\n", "utf-16")
    assert [s["x"] for s in TextLines(tmp_path, encoding="utf-16")] == ["wide too", "wide"]
    with pytest.raises(UserError, match="no encoding is called 'utf-9'"):
        TextLines(tmp_path, encoding="utf-9")


def test_one_file_per_text(tmp_path: Path) -> None:
    for name, text in {"pos/1.txt": "one\ntwo\n", "pos/2.txt": "", "neg/1.txt": "bad"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    texts = TextFolder(tmp_path.parent, split=tmp_path.name)
    assert texts.classes == {"neg": 0, "pos": 1}
    assert texts[1]["x"] == "one\ntwo\n"
    with pytest.raises(BadSample, match=r"2\.txt: the text is empty"):
        texts[2]
    (tmp_path / "neg/1.txt").write_bytes("差\n".encode("gbk"))
    with pytest.raises(BadSample, match=r"1\.txt:1: byte 0x\w\w is not UTF-8") as error:
        texts[0]
    assert error.value.kind == "text"
    assert TextFolder(tmp_path, encoding="gbk")[0]["x"] == "差\n"


def test_rt_polarity(data_sets: Path) -> None:
    texts = TextLines(data_sets / "tables-series-text" / "rt-polarity")
    assert texts.class_names == ("neg", "pos")
    assert texts.labels is not None
    assert np.bincount(texts.labels).tolist() == [5331, 5331]
    assert texts[0]["x"].startswith("simplistic , silly and tedious")
    assert texts[5331]["meta"]["path"].endswith("rt-polarity.pos:1")
