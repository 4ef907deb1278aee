"""TensorBoard files, read back by TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger import TensorBoardLogger
from tests.logger.run_files import record, scalars


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create("p", "n", root=tmp_path / "runs")


def write(log_dir: str | None, run: RunFolder, steps: range, **opening: object) -> list[str]:
    logger = TensorBoardLogger(log_dir)
    stage = str(opening.pop("stage", "train"))
    resume_step = opening.pop("resume_step", None)
    assert resume_step is None or isinstance(resume_step, int)
    logger.open(run, resume_step, stage)
    for step in steps:
        logger.write(record(step, stage=stage))
    logger.close()
    return logger.notes


@pytest.mark.seed("S0-51")
def test_scalars_are_at_their_steps(tmp_path: Path, run: RunFolder) -> None:
    log_dir = str(tmp_path / "tb")
    assert write(log_dir, run, range(10, 40, 10)) == []
    found = scalars(Path(log_dir), "train/loss")
    assert [step for step, _ in found] == [10, 20, 30]
    assert [value for _, value in found] == pytest.approx([0.1, 0.05, 1 / 30])


def test_without_a_log_dir_the_run_folder_is_used(run: RunFolder) -> None:
    write(None, run, range(1, 3))
    assert [step for step, _ in scalars(run.path / "tensorboard", "train/loss")] == [1, 2]


def test_a_resumed_run_shows_no_step_twice(tmp_path: Path, run: RunFolder) -> None:
    log_dir = str(tmp_path / "tb")
    write(log_dir, run, range(1, 9))
    write(log_dir, run, range(5, 7), resume_step=4)
    assert [step for step, _ in scalars(Path(log_dir), "train/loss")] == [1, 2, 3, 4, 5, 6]


def test_another_runs_curves_are_moved_aside_and_it_is_said(tmp_path: Path, run: RunFolder) -> None:
    log_dir = str(tmp_path / "tb")
    write(log_dir, run, range(1, 4))
    other = RunFolder.create("p", "n", root=tmp_path / "runs")
    notes = write(log_dir, other, range(1, 3))
    assert len(notes) == 1
    assert "earlier_1" in notes[0]
    assert len(scalars(Path(log_dir), "train/loss")) == 2
    assert len(scalars(Path(log_dir, "earlier_1"), "train/loss")) == 3


def test_a_second_stage_gets_its_own_curve(tmp_path: Path, run: RunFolder) -> None:
    log_dir = str(tmp_path / "tb")
    write(log_dir, run, range(1, 4), stage="warm up")
    write(log_dir, run, range(1, 6), stage="main")
    assert len(scalars(Path(log_dir), "train/loss")) == 3
    assert len(scalars(Path(log_dir, "main"), "train/loss")) == 5
    write(log_dir, run, range(3, 4), stage="main", resume_step=2)
    assert [step for step, _ in scalars(Path(log_dir, "main"), "train/loss")] == [1, 2, 3]
