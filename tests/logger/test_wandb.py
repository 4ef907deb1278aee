"""Weights & Biases with the real package, offline, with connections blocked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger import WandBLogger
from tests.logger.run_files import record, wandb_history, wandb_run

ASKED_TO_INSTALL = r"pip install .?cvtrainer\[wandb\]"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create("p", "n", root=tmp_path / "runs")
    folder.write_config({"seed": 3})
    return folder


def write(run: RunFolder, steps: range, resume_step: int | None = None) -> None:
    logger = WandBLogger(project="my_project", mode="offline")
    logger.open(run, resume_step)
    for step in steps:
        logger.write(record(step))
    logger.close()


def written_files(run: RunFolder, *, rows: int) -> list[Path]:
    """The run files, once W&B's own process has written that many rows."""
    for _ in range(100):
        files = sorted(run.path.glob("wandb/offline-run-*/run-*.wandb"))
        if sum(len(wandb_history(file)) for file in files) >= rows:
            break
        sleep(0.1)
    return files


@pytest.mark.seed("S0-52")
def test_an_offline_run_holds_the_values_and_is_continued(run: RunFolder) -> None:
    pytest.importorskip("wandb")
    write(run, range(10, 40, 10))
    write(run, range(40, 50, 10), resume_step=30)
    files = written_files(run, rows=4)
    rows = [row for file in files for row in wandb_history(file)]
    assert [row["_step"] for row in rows] == [10, 20, 30, 40]
    assert [row["train/loss"] for row in rows] == pytest.approx([0.1, 0.05, 1 / 30, 0.025])
    first, *others = [wandb_run(file) for file in files]
    assert first.project == "my_project"
    assert run.run_id in first.run_id
    assert all(other.run_id == first.run_id for other in others)


class Calls(SimpleNamespace):
    """Stands where the wandb package would: only what a logger must call."""

    def __init__(self) -> None:
        super().__init__(made=[])

    def init(self, **given: Any) -> None:
        self.made.append(("init", given))

    def log(self, values: dict[str, float], step: int) -> None:
        self.made.append(("log", {"step": step, **values}))

    def finish(self) -> None:
        self.made.append(("finish", {}))


@pytest.mark.seed("S0-52", "S4-57")
def test_init_log_finish(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    monkeypatch.setitem(sys.modules, "wandb", calls)
    write(run, range(10, 30, 10))
    assert [name for name, _ in calls.made] == ["init", "log", "log", "finish"]
    assert calls.made[0][1]["project"] == "my_project"
    assert calls.made[0][1]["config"] == {"seed": 3}
    assert calls.made[2][1] == {"step": 20, "train/loss": 0.05, "epoch": 1}


def test_steps_that_are_there_already_are_not_sent_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed behind its last checkpoint makes some steps once more."""
    calls = Calls()
    calls.init = lambda **given: SimpleNamespace(step=41)
    monkeypatch.setitem(sys.modules, "wandb", calls)
    write(run, range(30, 60, 10), resume_step=20)
    assert [call["step"] for name, call in calls.made if name == "log"] == [50]


@pytest.mark.seed("S0-52", "S4-57")
def test_a_missing_package_is_no_matter_where_it_is_not_configured() -> None:
    program = "import sys; sys.modules['wandb'] = None; import cvtrainer.logger"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.seed("S0-52")
def test_a_missing_package_is_told_when_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=ASKED_TO_INSTALL):
        WandBLogger(project="my_project")
