"""Logs how much memory the run takes: `gpu_memory_gb` at its peak, and `memory_gb` of processes.

The peak is since the record before. Processes are this one and its data workers. Both are looked at
when a record is due, on the process that logs.
"""

from __future__ import annotations

from typing import ClassVar

from cvtrainer.engine.memory import peak_gpu_memory, process_memory
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.log_lines import LogLines, tell


class MemoryHook(BaseHook):
    """It takes no arguments."""

    rank: ClassVar[Rank] = Rank.EVALUATE

    def before_train(self, stage: StageView) -> None:
        self._lines = LogLines(stage)
        peak_gpu_memory(stage.trainer.plan.device)

    def after_step(self, stage: StageView) -> None:
        if stage.phase == "train" and self._lines.due(stage):
            self._look(stage)

    def after_epoch(self, stage: StageView) -> None:
        if stage.trainer.writers:
            self._look(stage)

    def _look(self, stage: StageView) -> None:
        peak = peak_gpu_memory(stage.trainer.plan.device)
        taken = {} if peak is None else {"gpu_memory_gb": peak}
        tell(stage, {**taken, "memory_gb": process_memory()})
