"""Logs how fast training is and what it waits for.

`samples_per_s` over all processes, `ms_per_step`, and `data_wait`: the share of the time in which
the loop waited for a batch. On a GPU also `device_ms_per_step`, from the begin of a step's work
there to its end. Each is the mean since the record before; a step lasts from asking for its batch
to its end, so evaluating, saving and logging are left out. Only host clocks and events on the
device are noted in the loop; they are read when a record is due.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any, ClassVar

import torch

from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.log_lines import LogLines, tell
from cvtrainer.protocols import Batch, Stream

_MOST_EVENTS = 1000
"""Steps that are timed on the device where records are rare."""


class ThroughputHook(BaseHook):
    """It takes no arguments."""

    rank: ClassVar[Rank] = Rank.EVALUATE

    def __init__(self) -> None:
        self._stream: _TimedStream | None = None
        self._on_gpu = False
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._seconds = 0.0
        self._steps = self._batches = self._samples = 0

    def before_train(self, stage: StageView) -> None:
        self._lines = LogLines(stage)
        self._on_gpu = stage.trainer.plan.device.type == "cuda"
        streams = stage.trainer.streams
        self._stream = streams["train"] = _TimedStream(streams["train"], stage, self._on_gpu)
        self._restart(stage)

    def before_epoch(self, stage: StageView) -> None:
        self._restart(stage)

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train":
            return
        assert self._stream is not None
        if self._stream.began is not None and len(self._events) < _MOST_EVENTS:
            self._events.append((self._stream.began, _event()))
        due = self._lines.due(stage) or stage.clock.batch == len(self._stream)
        if due and self._on_gpu:
            _event().synchronize()  # a record reads the meters after this, which waits as well
        self._seconds += perf_counter() - self._stream.asked
        if due and stage.clock.batch < len(self._stream):
            self._look(stage)

    def after_epoch(self, stage: StageView) -> None:
        if stage.trainer.writers:
            self._look(stage)

    def after_train(self, stage: StageView) -> None:
        if self._stream is not None:
            stage.trainer.streams["train"] = self._stream.stream
            self._stream = None

    def _look(self, stage: StageView) -> None:
        assert self._stream is not None
        seconds = self._seconds
        steps = stage.step - self._steps
        samples = stage.clock.samples - self._samples
        if steps and seconds > 0:
            values = {
                "samples_per_s": samples * stage.trainer.world.world_size / seconds,
                "ms_per_step": 1000.0 * seconds / steps,
                "data_wait": min(1.0, self._stream.waited / seconds),
            }
            if self._events:
                spans = [began.elapsed_time(ended) for began, ended in self._events]
                batches = (stage.clock.batches - self._batches) / steps
                values["device_ms_per_step"] = batches * sum(spans) / len(spans)
            tell(stage, values)
        self._restart(stage)

    def _restart(self, stage: StageView) -> None:
        clock = stage.clock
        self._seconds = 0.0
        self._steps, self._batches, self._samples = clock.step, clock.batches, clock.samples
        self._events.clear()
        if self._stream is not None:
            self._stream.waited = 0.0


class _TimedStream:
    """The training stream, with a stopwatch at its batches; everything else is the stream's own."""

    def __init__(self, stream: Stream, stage: StageView, on_gpu: bool) -> None:
        self.stream = stream
        self.asked = 0.0
        self.waited = 0.0
        self.began: torch.cuda.Event | None = None
        self._stage = stage
        self._on_gpu = on_gpu

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __len__(self) -> int:
        return len(self.stream)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        batches = self.stream.epoch(epoch, start=start)
        while True:
            asked = perf_counter()
            batch = next(batches, None)
            if self._stage.phase == "train":  # somebody may look at training data while evaluating
                self.asked = asked
                self.waited += perf_counter() - asked
            if batch is None:
                return
            if self._on_gpu:
                self.began = _event()
            yield batch


def _event() -> torch.cuda.Event:
    """A mark behind the work that the device has been given so far."""
    event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event
