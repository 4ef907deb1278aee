"""Follows a run from inside: one hook and streams that pass batches on, all of the job's own.

At each border the whole state becomes checksums, and so does each batch. The hook also asks for
the checkpoint, ends the stage early, and the stream kills the process at the border it was told:
without warning, with workers, log files and half of a background write as they are.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs.verify_resume.digest import leaves
from cvtrainer.jobs.verify_resume.lengths import Lengths
from cvtrainer.jobs.verify_resume.moments import Moments
from cvtrainer.jobs.verify_resume.moving import what_moves
from cvtrainer.jobs.verify_resume.orders import START, Border, Orders, Trace
from cvtrainer.protocols import Batch, Stream
from cvtrainer.trainer import Trainer

NAME = "verify_resume"


class Watch(BaseHook):
    """The last one to be told of anything; it changes nothing that moves."""

    rank: ClassVar[Rank] = Rank.SAVE
    name = NAME

    def __init__(
        self,
        orders: Orders,
        trace: Trace,
        moments: Moments,
        epochs: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.orders = orders
        self.trace = trace
        self.moments = moments
        self.lengths = Lengths(orders.steps)
        self._epochs = epochs
        self.trainer: Trainer | None = None
        self.streams: dict[str, WatchedStream] = {}
        self._save_at = Border.of(orders.save_at) if orders.save_at else None
        closely = orders.closely
        self._closely = None if closely in (None, START) else Border.of(closely or ())
        self._left: int | None = None
        self._evaluations = 0

    def adapt_streams(self, streams: dict[str, Stream]) -> dict[str, Stream]:
        """Streams of the verified length, each telling what it serves from its stage's start on."""
        self.trainer = None
        self.streams = {
            phase: WatchedStream(stream, phase, self) for phase, stream in streams.items()
        }
        return dict(self.streams)

    def configure(self, plan: Plan) -> None:
        """All hooks before this one have said how a step is made."""
        train = self.streams.get("train")
        self.lengths.of_stage(
            plan.accumulate, len(train.inner) if train else 0, epochs=self._epochs()
        )

    def before_train(self, stage: StageView) -> None:
        self.trainer = stage.trainer
        self._evaluations = 0
        self.trace.write(
            "stage",
            stage=stage.name,
            accumulate=self.lengths.accumulate,
            per_epoch=len(self.streams["train"]),
            whole=len(self.streams["train"].inner),
            batch=stage.clock.batches,
            parts=_parts_of(stage.trainer),
        )
        if stage.clock.closed and self.lengths.reached(stage.clock.batches):
            stage.trainer.stop()

    def after_step(self, stage: StageView) -> None:
        if stage.phase == "train" and self._is_due(stage, stage.clock.batch, closed=False):
            self._ask(stage)

    def before_eval(self, stage: StageView) -> None:
        self._evaluations += 1

    def after_epoch(self, stage: StageView) -> None:
        if self._is_due(stage, stage.clock.batch, closed=True):
            self._ask(stage)
        if self.lengths.reached(stage.clock.batches):
            stage.trainer.stop()

    def after_train(self, stage: StageView) -> None:
        if stage.context.has("exception"):
            return
        border = Border(stage.name, stage.epoch, stage.clock.batch, end=True)
        self.at_border(border, stage.trainer)
        if self._left is not None:
            self._die(stage.trainer)

    def at_border(self, border: Border, trainer: Trainer) -> None:
        """Write down where everything stands; then do what was ordered for this border."""
        if self.moments.is_open:
            self.moments.close(border)
            self._die(trainer)
        clock = trainer.clock
        self.trace.write(
            "border",
            border=border,
            step=clock.step,
            closed=clock.closed,
            in_group=not clock.stepped and clock.batch > 0,
            state=what_moves(trainer),
        )
        if border == self._closely:
            self.moments.open(trainer)
        if self._left is not None:
            if self._left == 0:
                self._die(trainer)
            self._left -= 1

    def served(self, phase: str, epoch: int, number: int, batch: Batch) -> None:
        """A batch goes into the loop."""
        assert self.trainer is not None
        clock = self.trainer.clock
        self.trace.write(
            "batch",
            border=Border(self.trainer.settings.name, clock.epoch, clock.batch),
            phase=phase,
            epoch=epoch,
            number=number,
            evaluation=0 if phase == "train" else self._evaluations,
            content=leaves(batch),
        )

    def _is_due(self, stage: StageView, batch: int, *, closed: bool) -> bool:
        here = Border(stage.name, stage.epoch, batch)
        return self._save_at == here and self.orders.save_closed == closed and self._left is None

    def _ask(self, stage: StageView) -> None:
        assert self.orders.save_path is not None
        stage.trainer.request_save(Path(self.orders.save_path))
        self._left = self.orders.more_batches

    def _die(self, trainer: Trainer) -> None:
        trainer.flush_saves()
        os.kill(os.getpid(), signal.SIGKILL)


class WatchedStream:
    """Passes the batches of another stream on; an epoch ends after the verified length."""

    def __init__(self, inner: Stream, phase: str, watch: Watch) -> None:
        self.inner = inner
        self._phase = phase
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def batch_size(self) -> int:
        return self.inner.batch_size

    @property
    def samples(self) -> int:
        return min(self.inner.samples, len(self) * max(1, self.inner.batch_size))

    def __len__(self) -> int:
        return self._watch.lengths.limit(self._phase, len(self.inner))

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Borders lie before each batch and after the last one."""
        batches = iter(self.inner.epoch(epoch, start=start))
        trainer = self._watch.trainer
        if trainer is None:  # somebody looks at data before training, who need not do so again
            yield from islice(batches, len(self) - start)
            return
        for number in range(start, len(self) + 1):
            if self._phase == "train":
                self._watch.at_border(Border(trainer.settings.name, epoch, number), trainer)
            if number == len(self):
                return
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._watch.served(self._phase, epoch, number, batch)
            yield batch

    def finish(self, batch: Batch) -> Batch:
        return self.inner.finish(batch)

    def shard(self, rank: int, world_size: int) -> None:
        self.inner.shard(rank, world_size)

    def close(self) -> None:
        self.inner.close()


def _parts_of(trainer: Trainer) -> dict[str, str]:
    """What each part of the state is, by the path that its leaves begin with."""
    kind: Callable[[object], str] = lambda part: type(part).__name__  # noqa: E731
    parts = {f"hooks/{name}": kind(hook) for name, hook in trainer.hooks.items()}
    parts |= {f"networks/{name}": kind(one) for name, one in trainer.networks.items()}
    parts |= {f"optimizers/{name}": kind(one) for name, one in trainer.optimizers.items()}
    parts["task"] = kind(getattr(trainer.task, "criterion", None) or trainer.task)
    return parts
