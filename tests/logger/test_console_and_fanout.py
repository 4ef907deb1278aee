"""Lines for people, and several writers as one of which none can end the training."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger import ConsoleLogger, FileLogger, JsonlLogger, Writers
from tests.logger.run_files import json_lines, record


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create("p", "n", root=tmp_path / "runs")


@pytest.mark.seed("S0-49")
def test_console_lines_are_plain_and_aligned(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = ConsoleLogger()
    logger.open(run, None)
    logger.write(record(10, loss=0.51234, accuracy=0.25))
    logger.write(record(2000, loss=0.000012, accuracy=1.0))
    first, second = capsys.readouterr().out.splitlines()
    assert "\x1b" not in first
    assert "loss 0.5123" in first
    assert "loss 1.20e-05" in second
    assert first.index("accuracy") == second.index("accuracy")


@pytest.mark.seed("S0-49")
def test_console_lines_have_colour_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ConsoleLogger().write(record(10))
    assert "\x1b[" in capsys.readouterr().out


class FullDisk(JsonlLogger):
    """Has no space for the second record."""

    def __init__(self) -> None:
        super().__init__()
        self.records = 0

    def write(self, record: Any) -> None:
        self.records += 1
        if self.records in (2, 3):
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(record)


def test_a_failing_writer_is_told_about_once_and_the_others_go_on(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    writers = Writers([ConsoleLogger(), FullDisk(), FileLogger()])
    writers.open(run, None, "train")
    for step in range(1, 5):
        writers.write(record(step))
    writers.close()
    out = capsys.readouterr().out
    assert out.count("No space left") == 1
    assert sum(line.startswith("train") for line in out.splitlines()) == 4
    log = (run.path / "train.log").read_text()
    assert log.count("No space left") == 1
    assert log.count("loss") == 4
    assert [line["step"] for line in json_lines(run.path / "metrics.jsonl")] == [1, 4]


def test_a_line_that_does_not_fit_is_taken_back(run: RunFolder) -> None:
    resource = pytest.importorskip("resource")
    logger = JsonlLogger()
    logger.open(run, None)
    logger.write(record(1))
    path = run.path / "metrics.jsonl"
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            logger.write(record(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    logger.write(record(3))
    assert [line["step"] for line in json_lines(path)] == [1, 3]


def test_a_writer_that_cannot_open_is_an_error_and_leaves_nothing_open(
    tmp_path: Path, run: RunFolder
) -> None:
    (tmp_path / "a_file").write_text("")
    first = JsonlLogger()
    writers = Writers([first, FileLogger(str(tmp_path / "a_file" / "logs"))])
    with pytest.raises(Exception, match="a_file"):
        writers.open(run, None, "train")
    first.write(record(1))
    assert (run.path / "metrics.jsonl").read_text() == ""
