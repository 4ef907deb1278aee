"""For hooks that measure: when the next record of training is due, and how to get into it.

A value that is only needed in a record is made right before it, never in the steps between.
"""

from __future__ import annotations

from collections.abc import Mapping

from cvtrainer.engine.view import StageView
from cvtrainer.hooks.logger import LoggerHook


class LogLines:
    """The loggers of a stage; made when it begins."""

    def __init__(self, stage: StageView) -> None:
        hooks = stage.trainer.hooks.values()
        self._loggers = [hook for hook in hooks if isinstance(hook, LoggerHook)]

    def due(self, stage: StageView) -> bool:
        """Whether one of them writes a record after this step, in the middle of an epoch."""
        return any(logger.due(stage) for logger in self._loggers)


def tell(stage: StageView, values: Mapping[str, float]) -> None:
    """Put numbers into the next record, as `train/<name>`."""
    stage["measured"] = {**stage.get("measured", {}), **values}
