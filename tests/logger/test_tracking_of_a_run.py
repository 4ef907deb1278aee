"""W&B and TensorBoard beside a whole run: what their own files hold afterwards."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from typing import Any

import pytest
import yaml

from cvtrainer import train
from tests.logger.run_files import (
    scalars,
    wandb_config,
    wandb_exits,
    wandb_history,
    wandb_run,
)
from tests.project import change, cvtrainer, write_project

FAILS = '''
from cvtrainer.hooks import BaseHook


class FailsOnce(BaseHook):
    """The user's own error, at step 8 of the first start."""

    def after_step(self, stage):
        flag = stage.trainer.run.path / "failed"
        if stage.phase == "train" and stage.step == 8 and not flag.exists():
            flag.touch()
            raise RuntimeError("the user's own error")
'''


def project(root: Path, *hooks: dict[str, Any], **stage: Any) -> Path:
    config = write_project(root)
    (config.parent / "hooks.py").write_text(FAILS)
    change(
        config,
        epochs=2,
        hooks=[{"type": "logger", "kwargs": {"train_log_freq": 2}}, *hooks],
        logger=[
            {
                "type": "wandb",
                "kwargs": {"project": "my_project", "name": "exp1", "mode": "offline"},
            },
            {"type": "tensorboard", "kwargs": {"log_dir": "./work_dir/tf_logs"}},
        ],
        **stage,
    )
    return config


def wandb_files(root: Path, *, exits: int) -> list[Path]:
    """The run files in their order, once W&B's own process has ended them."""
    for _ in range(150):
        files = sorted(root.glob("runs/*/*/wandb/offline-run-*/run-*.wandb"))
        if sum(len(wandb_exits(file)) for file in files) >= exits:
            break
        sleep(0.1)
    return files


@pytest.mark.long
@pytest.mark.seed("S1-66", "S3-54", "S3-74", "S3-75", "S0-51", "S0-52")
def test_a_whole_run_is_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    result = train(str(project(tmp_path)))
    (file,) = wandb_files(tmp_path, exits=1)
    assert wandb_exits(file) == [0]
    run = wandb_run(file)
    assert (run.project, run.display_name, run.job_type) == ("my_project", "exp1", "train")
    saved = yaml.safe_load((result.run / "config.yaml").read_text())
    sent = wandb_config(file)
    assert sent["stages"] == saved["stages"]
    assert sent["seed"] == saved["seed"]

    rows = wandb_history(file)
    assert [row["_step"] for row in rows] == [2, 4, 5, 6, 8, 10]
    assert [row["epoch"] for row in rows] == [1, 1, 1, 2, 2, 2]
    with_val = [row for row in rows if "val/accuracy" in row]
    assert [row["_step"] for row in with_val] == [5, 10]
    last = result.metrics["train"]
    for tag in ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/accuracy_top5"):
        assert rows[-1][tag] == pytest.approx(last[tag])
        curve = scalars(tmp_path / "work_dir" / "tf_logs", tag)
        assert curve[-1] == (10, pytest.approx(last[tag]))
    rates = scalars(tmp_path / "work_dir" / "tf_logs", "lr")
    assert [step for step, _ in rates] == [2, 4, 5, 6, 8, 10]
    assert [value for _, value in rates] == pytest.approx([row["lr"] for row in rows])


@pytest.mark.long
@pytest.mark.seed("S1-66", "S0-51")
def test_a_run_that_fails_ends_well_and_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    config = project(
        tmp_path,
        {"type": "checkpoint", "kwargs": {"save_freq": 1}},
        {"type": "apps/toy/hooks.py:FailsOnce"},
    )
    with pytest.raises(RuntimeError, match="the user's own error"):
        train(str(config))
    (first,) = wandb_files(tmp_path, exits=1)
    assert wandb_exits(first) == [1]
    assert [row["_step"] for row in wandb_history(first)] == [2, 4, 5, 6]

    train(str(config), resume="auto")
    files = wandb_files(tmp_path, exits=2)
    second = next(file for file in files if file != first)
    assert wandb_exits(second) == [0]
    assert wandb_run(second).run_id == wandb_run(first).run_id
    assert [row["_step"] for row in wandb_history(second)] == [6, 8, 10]
    again = {row["_step"]: row["train/loss"] for row in wandb_history(second)}
    assert all(
        row["train/loss"] == again[row["_step"]]
        for row in wandb_history(first)
        if row["_step"] in again
    )
    curve = scalars(tmp_path / "work_dir" / "tf_logs", "train/loss")
    assert [step for step, _ in curve] == [2, 4, 5, 6, 8, 10]


@pytest.mark.long
@pytest.mark.seed("S1-66", "S3-75")
def test_of_two_processes_only_the_first_tracks(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    config = project(tmp_path)
    done = cvtrainer("train", str(config), "--num_gpus", "2", cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stderr
    (file,) = wandb_files(tmp_path, exits=1)
    assert wandb_exits(file) == [0]
    assert len(list((tmp_path / "work_dir" / "tf_logs").glob("events.*"))) == 1
