"""The page of tasks: every task with all its arguments, and a task of one's own that trains."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from cvtrainer.core.catalog import TASKS
from cvtrainer.core.locate import import_target
from tests.docs.pages import snippets
from tests.project import change, cvtrainer, write_project

PAGES = ["tasks.md", "zh-CN/tasks.md"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_has_a_row_with_its_arguments(root: Path, page: str, name: str) -> None:
    text = (root / "docs" / page).read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}` \|.*\|(.*)\|$", text, re.MULTILINE)
    assert row is not None
    named = set(re.findall(r"`(\w+)`", row[1]))
    assert named == set(inspect.signature(import_target(TASKS.get(name) or "")).parameters)


@pytest.mark.seed("S4-79")
def test_the_task_of_the_page_trains_as_a_project_of_its_own(tmp_path: Path) -> None:
    """In no more than thirty lines, and with no change anywhere else."""
    (own,) = [
        one.text for one in snippets("python", ("docs/tasks.md",)) if "class Denoising" in one.text
    ]
    assert len(own.splitlines()) <= 30
    config = write_project(tmp_path)
    (config.parent / "tasks.py").write_text(own, encoding="utf-8")
    change(
        config,
        task={"type": "apps.toy.tasks.Denoising", "noise": 0.1},
        model={"type": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1},
        model_args=None,
        criterion=None,
        hooks=[{"type": "EMAHook"}],
        meters=["loss", {"type": "psnr", "bind": {"output": "made", "target": "clean"}}],
    )
    done = cvtrainer("train", "--config", "apps/toy/train.yaml", "epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "val/psnr" in done.stdout
    assert "val/loss_error" in done.stdout
