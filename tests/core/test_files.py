"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.core.files import whole_file, write_whole


def test_text_and_bytes_and_missing_folders(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.txt", "中")
    write_whole(tmp_path / "a" / "c.bin", b"\0")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "中".encode()
    assert sorted(os.listdir(tmp_path / "a")) == ["b.txt", "c.bin"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_whole(target, "old")
    with pytest.raises(TypeError), whole_file(target) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_nobody_sees_a_part(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_whole(target, "old")
    with whole_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_a_full_disk_is_one_line_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "f"
    write_whole(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailed, match="disk is full") as caught:
        write_whole(target, "new")
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        write_whole(tmp_path / "file" / "below", "x")


def test_killed_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_whole(target, "old")
    program = (
        "import os, signal, sys\n"
        "from cvtrainer.core.files import whole_file\n"
        "with whole_file(sys.argv[1]) as file:\n"
        "    file.write(b'x' * 100000)\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert done.returncode != 0
    assert target.read_text() == "old"
    (part,) = [name for name in os.listdir(tmp_path) if name != "f"]
    write_whole(target, "still being written by somebody, for all we know")
    assert part in os.listdir(tmp_path)
    os.utime(tmp_path / part, (0, 0))
    write_whole(target, "new")
    assert os.listdir(tmp_path) == ["f"]
