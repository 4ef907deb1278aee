"""train.log and metrics.jsonl: whose they are, whole lines, and what a resume leaves of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger import FileLogger, JsonlLogger
from tests.logger.run_files import json_lines, record


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create("p", "n", root=tmp_path / "runs")


def write(
    logger: FileLogger | JsonlLogger, run: RunFolder, steps: range, **opening: object
) -> None:
    stage = str(opening.get("stage", "train"))
    resume_step = opening.get("resume_step")
    assert resume_step is None or isinstance(resume_step, int)
    logger.open(run, resume_step, stage)
    for step in steps:
        logger.write(record(step, stage=stage))
    logger.close()


@pytest.mark.seed("S0-50")
def test_the_log_has_one_line_per_event(
    tmp_path: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = FileLogger(log_dir="./logs", filename="train.log")
    logger.open(run, None)
    logger.message("two lines\nof one message")
    logger.write(record(10, loss=0.5))
    logger.write(record(10, phase="val", accuracy=0.25))
    logger.close()
    first, *lines = (tmp_path / "logs" / "train.log").read_text().splitlines()
    assert run.run_id in first
    assert len(lines) == 3
    assert lines[0].endswith("two lines | of one message")
    assert "step 10" in lines[1]
    assert "loss 0.5000" in lines[1]
    assert "accuracy 0.2500" in lines[2]


@pytest.mark.seed("S0-50")
def test_another_runs_log_is_moved_aside_and_our_own_goes_on(
    tmp_path: Path, run: RunFolder
) -> None:
    folder = tmp_path / "logs"
    write(FileLogger(str(folder)), run, range(1, 4))
    write(FileLogger(str(folder)), run, range(4, 6), resume_step=3)
    assert len((folder / "train.log").read_text().splitlines()) == 1 + 3 + 1 + 2
    other = RunFolder.create("p", "n", root=tmp_path / "runs")
    logger = FileLogger(str(folder))
    write(logger, other, range(1, 2))
    assert "train.1.log" in logger.notes[0]
    assert len((folder / "train.log").read_text().splitlines()) == 2
    assert run.run_id in (folder / "train.1.log").read_text()
    third = RunFolder.create("p", "n", root=tmp_path / "runs")
    write(FileLogger(str(folder)), third, range(1, 2))
    assert other.run_id in (folder / "train.2.log").read_text()


def test_a_filename_stays_in_its_folder() -> None:
    with pytest.raises(UserError, match="log_dir"):
        FileLogger(filename="../train.log")


def test_metrics_are_flat_lines_that_read_back(run: RunFolder) -> None:
    logger = JsonlLogger()
    logger.open(run, None)
    logger.write(record(1, loss=math.nan, best=math.inf, accuracy=0.5))
    logger.close()
    (line,) = json_lines(run.path / "metrics.jsonl")
    assert line["run"] == run.run_id
    assert (line["stage"], line["phase"], line["epoch"], line["step"]) == ("train", "train", 1, 1)
    assert math.isnan(float(line["train/loss"]))
    assert math.isinf(float(line["train/best"]))
    assert line["train/accuracy"] == 0.5


def test_a_resume_cuts_metrics_back_to_the_checkpoint(run: RunFolder) -> None:
    write(JsonlLogger(), run, range(1, 9))
    path = run.path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"run": "' + run.run_id + '", "stage": "tra')
    write(JsonlLogger(), run, range(5, 11), resume_step=5)
    assert [line["step"] for line in json_lines(path)] == list(range(1, 11))


def test_a_damaged_line_in_the_middle_costs_only_itself(run: RunFolder) -> None:
    write(JsonlLogger(), run, range(1, 6))
    path = run.path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b":", b"\xff", 3)
    path.write_bytes(b"".join(lines))
    write(JsonlLogger(), run, range(6, 7), resume_step=5)
    assert [line["step"] for line in json_lines(path)] == [1, 2, 4, 5, 6]


def test_a_resume_in_an_earlier_stage_drops_the_later_one(run: RunFolder) -> None:
    write(JsonlLogger(), run, range(1, 5), stage="first")
    write(JsonlLogger(), run, range(1, 4), stage="second")
    path = run.path / "metrics.jsonl"
    write(JsonlLogger(), run, range(3, 4), stage="second", resume_step=2)
    assert [(line["stage"], line["step"]) for line in json_lines(path)][4:] == [
        ("second", 1),
        ("second", 2),
        ("second", 3),
    ]
    write(JsonlLogger(), run, range(3, 5), stage="first", resume_step=2)
    assert [(line["stage"], line["step"]) for line in json_lines(path)] == [
        ("first", step) for step in range(1, 5)
    ]


def test_another_runs_metrics_are_moved_aside(tmp_path: Path, run: RunFolder) -> None:
    folder = tmp_path / "logs"
    write(JsonlLogger(str(folder)), run, range(1, 4))
    other = RunFolder.create("p", "n", root=tmp_path / "runs")
    write(JsonlLogger(str(folder)), other, range(1, 3))
    assert len(json_lines(folder / "metrics.jsonl")) == 2
    assert len(json_lines(folder / "metrics.1.jsonl")) == 3


@pytest.mark.seed("S2-103")
def test_a_label_stands_in_every_line_and_the_run_is_known_again(run: RunFolder) -> None:
    write(FileLogger(label="my-log"), run, range(1, 4))
    write(FileLogger(label="my-log"), run, range(4, 6), resume_step=3)
    lines = (run.path / "train.log").read_text().splitlines()
    assert len(lines) == 7
    assert all(line.split()[2] == "my-log" for line in lines)
    with pytest.raises(UserError, match="one word"):
        FileLogger(label="my log")
