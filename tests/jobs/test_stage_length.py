"""How long a stage is: epochs, steps, or whichever comes first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.project import cvtrainer, write_project


def train(tmp_path: Path, *overrides: str) -> tuple[int, float]:
    """Steps made, and the rate that would come next; the toy has 5 steps an epoch."""
    write_project(tmp_path)
    done = cvtrainer(
        *("train", "--config", "apps/toy/train.yaml", "dir=run", "hooks.lr_scheduler.by=step"),
        *("hooks.lr_scheduler.scheduler_kwargs=null", "hooks.checkpoint.save_freq=0"),
        *overrides,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pth", weights_only=True)
    rate = state["optimizers"]["main"]["param_groups"][0]["lr"]
    return max(json.loads(line)["step"] for line in lines), rate


@pytest.mark.seed("S0-18")
@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (("epochs=2",), 10),
        (("epochs=null", "max_steps=7"), 7),
        (("epochs=2", "max_steps=7"), 7),
        (("epochs=1", "max_steps=7"), 5),
    ],
)
def test_epochs_and_steps(tmp_path: Path, overrides: tuple[str, ...], steps: int) -> None:
    """The shorter one ends the stage, and a schedule that fits itself ends with it."""
    made, rate = train(tmp_path, *overrides)
    assert made == steps
    assert rate == pytest.approx(0.0, abs=1e-9)
