"""Two that go on from the same run: the second one is told so in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.core.errors import UserError
from tests.project import change, write_project

SLOW = """
import time

from cvtrainer.hooks.base import BaseHook


class SlowHook(BaseHook):
    def after_step(self, stage):
        time.sleep(0.2)
"""


@pytest.mark.seed("S2-14")
@pytest.mark.parametrize("wanted", ["auto", "path"])
def test_a_run_under_way_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    config = write_project(tmp_path)
    (config.parent / "slow.py").write_text(SLOW)
    loader = "dataloader_args: {batch_size: 4, shuffle: true, num_workers: 2, workers: processes}"
    text = config.read_text()
    config.write_text(text.replace("dataloader_args: {batch_size: 4, shuffle: true}", loader))
    change(
        config,
        epochs=50,
        hooks=[
            {"type": "CheckpointHook", "kwargs": {"save_steps": 1}},
            "apps.toy.slow.SlowHook",
        ],
    )
    words = [sys.executable, "-m", "cvtrainer.cli", "train", "--config", str(config)]
    run = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 90
        while not (there := list(tmp_path.glob("runs/toy/*/checkpoints/*_step_1.pth"))):
            assert time.monotonic() < deadline
            assert run.poll() is None
            time.sleep(0.02)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        resume = "auto" if wanted == "auto" else str(there[0])
        with pytest.raises(UserError, match="another run is using this folder") as caught:
            cvtrainer.train(config, resume=resume)
        assert "\n" not in str(caught.value)
        assert run.poll() is None
        run.send_signal(signal.SIGKILL)  # its workers may live a moment longer
        cvtrainer.train(config, overrides=["epochs=1"], resume=resume)
    finally:
        run.kill()
        run.wait()
