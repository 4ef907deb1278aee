"""Shows how far training is: a live bar on a terminal, a line per epoch and phase elsewhere.

Numbers are read from the meters only when the bar is drawn, at most `refresh_hz` times a second;
a step in between costs one look at the clock. Meters that take long to read are read less often.
With several processes the bar of rank 0 shows its own part's numbers, and the epoch's end those of
all. A finished bar stays on the screen unless a console logger tells the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from cvtrainer.core.errors import UserError
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.logger import ConsoleLogger, Writers
from cvtrainer.logger.line import number
from cvtrainer.protocols import Writer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_NEVER = float("inf")
_SHARE = 20  # drawing takes at most one part in so many of the time
_SHOWN = 4


class ProgressBarHook(BaseHook):
    """Writes to standard error, and only on rank 0."""

    rank: ClassVar[Rank] = Rank.RECORD

    def __init__(self, refresh_hz: float = 10.0) -> None:
        if not 0 < refresh_hz <= 10:
            raise UserError(
                f"hooks.progress_bar: refresh_hz is {refresh_hz}; it must be above 0, at most 10"
            )
        self.refresh_hz = refresh_hz
        self._interval = 1.0 / refresh_hz
        self._due = _NEVER
        self._silent = True
        self._done = 0
        self._total = 0
        self._began = 0.0
        self._in_epoch = False
        self._outer: tuple[int, int, float] | None = None
        self._bar: _LiveBar | None = None

    def before_train(self, stage: StageView) -> None:
        self._silent = stage.trainer.world.rank > 0
        if not self._silent and sys.stderr.isatty():
            self._bar = _LiveBar(lasting=not _has_console(stage.trainer.writers))
        if not stage.clock.closed:
            self.before_epoch(stage)

    def before_epoch(self, stage: StageView) -> None:
        self._begin(stage, "train", stage.clock.batch)
        self._in_epoch = True

    def after_step(self, stage: StageView) -> None:
        self._done += 1
        if monotonic() >= self._due:
            self._draw(stage)

    def after_epoch(self, stage: StageView) -> None:
        self._end(stage, stage["train_metrics"])
        self._in_epoch = False

    def before_eval(self, stage: StageView) -> None:
        self._outer = (self._done, self._total, self._began) if self._in_epoch else None
        self._begin(stage, stage.phase, 0)

    def after_eval(self, stage: StageView) -> None:
        self._end(stage, stage[f"{stage.phase}_metrics"])
        if self._outer is not None:
            self._done, self._total, self._began = self._outer
            self._show(stage, "train")

    def after_train(self, stage: StageView) -> None:
        self._due = _NEVER
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin(self, stage: StageView, phase: str, done: int) -> None:
        self._done, self._total = done, len(stage.trainer.streams[phase])
        self._began = monotonic()
        self._show(stage, phase)

    def _show(self, stage: StageView, phase: str) -> None:
        """A new bar for the phase; without a terminal nothing is ever due."""
        if self._bar is not None:
            self._bar.begin(_title(stage, phase), self._done, self._total)
            self._due = monotonic() + self._interval

    def _draw(self, stage: StageView) -> None:
        assert self._bar is not None
        began = monotonic()
        values = stage["meters"].compute()
        if "loss" not in values:
            values = {"loss": float(stage["loss"]), **values}
        self._bar.draw(self._done, metrics_text(values))
        ended = monotonic()
        self._due = ended + max(self._interval, _SHARE * (ended - began))

    def _end(self, stage: StageView, metrics: Mapping[str, float]) -> None:
        if self._silent:
            return
        phase = stage.phase
        values = {name.removeprefix(f"{phase}/"): value for name, value in metrics.items()}
        if "loss" not in values and "loss" in stage:
            values = {"loss": float(stage["loss"]), **values}
        if self._bar is not None:
            self._bar.end(self._done, metrics_text(values))
        else:
            seconds = monotonic() - self._began
            print(
                f"{_title(stage, phase)}  {self._done}/{self._total}  {metrics_text(values)}"
                f"  {seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        self._due = _NEVER


class _LiveBar:
    """One bar at a time; finished ones stay on the screen if they are to last."""

    def __init__(self, *, lasting: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._lasting = lasting
        self._task: TaskID | None = None
        self._progress.start()

    def begin(self, title: str, done: int, total: int) -> None:
        self._drop()
        self._task = self._progress.add_task(title, completed=done, total=total, metrics="")
        self._progress.refresh()

    def draw(self, done: int, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, metrics=text, refresh=True)

    def end(self, done: int, text: str) -> None:
        """Show the full bar once; let it stay above whatever follows, or vanish."""
        self.draw(done, text)
        if self._task is not None and self._lasting:
            tasks = [task for task in self._progress.tasks if task.id == self._task]
            finished = self._progress.make_tasks_table(tasks)
            self._drop()
            self._progress.console.print(finished)
        self._drop()
        self._progress.refresh()

    def close(self) -> None:
        self._drop()
        self._progress.stop()

    def _drop(self) -> None:
        if self._task is not None:
            with suppress(KeyError):
                self._progress.remove_task(self._task)
            self._task = None


def _title(stage: StageView, phase: str) -> str:
    epochs: Any = stage.get("epochs")
    return f"epoch {stage.epoch}" + (f"/{epochs}" if epochs else "") + f" {phase:<5}"


def metrics_text(values: Mapping[str, float]) -> str:
    """The first numbers, beside the bar."""
    return "  ".join(f"{name} {number(value)}" for name, value in islice(values.items(), _SHOWN))


def _has_console(writers: Iterable[Writer]) -> bool:
    """Whether the records of each epoch appear on the screen anyway."""
    return sys.stdout.isatty() and any(
        isinstance(writer, ConsoleLogger) or (isinstance(writer, Writers) and _has_console(writer))
        for writer in writers
    )
