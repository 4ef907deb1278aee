"""SIGTERM and Ctrl-C in the middle of an accumulated step: saved at once, and exact afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.engine.checkpoint import read_checkpoint
from tests.attempts import Attempts
from tests.jobs.test_kill_matrix import final_states, logged
from tests.project import change, write_project
from tests.trainer.test_state import assert_same

PARTS = """
import os
import signal

from cvtrainer.hooks.base import BaseHook


class SignalHook(BaseHook):
    def __init__(self, at=0, kind="SIGTERM"):
        self.at = at
        self.kind = kind

    def after_step(self, stage):
        if stage.phase == "train" and stage.clock.batches == self.at:
            os.kill(os.getpid(), getattr(signal, self.kind))
"""
HOOKS = [
    {"type": "accumulate", "kwargs": {"steps": 3}},
    {"type": "ema", "kwargs": {"decay": 0.9}},
    {"type": "apps.toy.parts.SignalHook", "name": "signal"},
    {"type": "CheckpointHook", "kwargs": {"save_best": True}},
]


@pytest.mark.long
@pytest.mark.seed("S1-56", "S2-14")
@pytest.mark.parametrize("kind", ["SIGTERM", "SIGINT"])
def test_a_signal_in_the_middle_of_a_step_saves_and_goes_on_exactly(
    tmp_path: Path, kind: str
) -> None:
    roots = [tmp_path / "whole", tmp_path / "broken"]
    for root in roots:
        root.mkdir()
        config = write_project(root)
        (config.parent / "parts.py").write_text(PARTS)
        change(config, hooks=HOOKS)
    words = ["train", "--config", "apps/toy/train.yaml", "dir=run", "--resume", "auto"]
    at = [f"hooks.signal.kind={kind}", "hooks.signal.at=7"]  # the second batch of a step
    with Attempts() as attempts:
        assert attempts.run(roots[0], words) == 0, (roots[0] / "told.txt").read_text()
        assert attempts.run(roots[1], [*words, *at]) == 130, (roots[1] / "told.txt").read_text()
        saved = read_checkpoint(roots[1] / "run" / "checkpoints" / "last.pth")
        assert saved["clock"]["batches"] == 7
        assert not saved["clock"]["stepped"]
        assert saved["unfinished"][0]
        assert "go on with --resume auto" in (roots[1] / "told.txt").read_text()
        assert attempts.run(roots[1], words) == 0, (roots[1] / "told.txt").read_text()
    assert_same(final_states(roots[0]), final_states(roots[1]))
    assert logged(roots[0]) == logged(roots[1])
