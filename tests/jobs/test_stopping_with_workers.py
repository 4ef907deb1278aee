"""A signal to all processes of a run: schedulers and service managers send it that way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.project import change, write_project

ROWS = '''
import time

import torch


class Rows:
    """Slow enough that training always waits for data."""

    def __len__(self):
        return 4000

    def __getitem__(self, index):
        time.sleep(0.02)
        return {"x": torch.full((3, 8, 8), float(index)), "target": {"class_id": index % 3}}
'''


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["fork", pytest.param("forkserver", marks=pytest.mark.long)])
def test_a_run_saves_although_its_workers_are_told_to_end_too(tmp_path: Path, way: str) -> None:
    config = write_project(tmp_path)
    (config.parent / "rows.py").write_text(ROWS)
    loader = {"batch_size": 8, "num_workers": 2, "multiprocessing_context": way}
    change(
        config,
        dataloader={"train": {"dataset": "apps.toy.rows.Rows", "dataloader_args": loader}},
        hooks=["CheckpointHook"],
        meters=["LossMeter"],
    )
    words = ["-m", "cvtrainer.cli", "train", "--config", str(config), "dir=run"]
    run = subprocess.Popen(
        [sys.executable, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    told = ""
    while "by 2 processes" not in told:
        line = run.stdout.readline()
        assert line, told
        told += line
    time.sleep(0.5)
    os.killpg(run.pid, signal.SIGTERM)
    told += run.communicate(timeout=60)[0]
    assert run.returncode == 130, told
    assert "saved, go on with --resume auto" in told
    assert "Traceback" not in told
    assert (tmp_path / "run" / "checkpoints" / "last.pth").is_file()
