"""Saves checkpoints: the state is copied at a border and written while training goes on.

One border makes one copy, however many files were asked for. Never two writes at once: the next
save waits for the one before. `after_save` fires on the caller's thread at the first border where
the file is whole, and a failed write is raised there. Several processes agree on that border: the
end of an epoch, the next save or the end.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from cvtrainer.core.errors import RunFailed
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.engine.checkpoint import write_checkpoint
from cvtrainer.engine.sharded_checkpoint import write_shards
from cvtrainer.engine.snapshot import Snapshot
from cvtrainer.engine.step import fire
from cvtrainer.engine.view import StageView
from cvtrainer.protocols import State


class Saving:
    """What was asked for, what is being written, and what is whole."""

    def __init__(self, view: StageView) -> None:
        self.pending = False
        """Whether a border has anything to do here."""
        self.background = False
        """Whether writing may go on behind the caller's back; only a loop comes to a border."""
        self.whole: list[Path] = []
        self._view = view
        self._asked: dict[Path, bool] = {}
        self._under_way: list[Path] = []
        self._write: _Write | None = None

    def request(self, path: Path, *, wait: bool) -> None:
        """Save at the next border; with `wait`, training stands still meanwhile."""
        self._asked[path] = wait or self._asked.get(path, False)
        self.pending = True

    def at_border(self, *, of_epoch: bool = False) -> None:
        """Save what was asked for, and tell of files that have become whole."""
        if self._asked:
            asked, self._asked = self._asked, {}
            self.save(list(asked), wait=any(asked.values()))
        elif self._under_way and self._is_over(of_epoch):
            self.flush(alone=self._has_failed())

    def save(self, paths: Sequence[Path], *, wait: bool = False) -> None:
        """One state into these files; all processes take part, the first one writes."""
        self.flush()
        trainer, context = self._view.trainer, self._view.context
        trainer.borders.mark("save")
        for path in paths:
            context.set("checkpoint_path", path)
            fire(trainer.table.before_save, self._view)
        if trainer.plan.sharded_checkpoints:
            self._save_shards(paths)
            return
        state: State = trainer.state_dict()
        self._under_way, self.pending = list(paths), True
        wait = wait or not self.background
        if trainer.world.rank == 0:
            self._write = _Write(paths, state if wait else Snapshot(state))
            if wait:
                self._write.run()
            else:
                self._write.start()
        del state
        if wait:
            self.flush()

    def _save_shards(self, paths: Sequence[Path]) -> None:
        """Every process writes its part, and training waits for all of them."""
        trainer = self._view.trainer
        state: State = trainer.state_dict(in_pieces=True)
        for path in paths:
            write_shards(path, state, trainer.world)
        self._under_way = list(paths)
        self.flush()

    def flush(self, *, alone: bool = False) -> None:
        """Wait for the write that is under way, and tell of it; all processes do so together.

        One that is `alone` is about to end, and the others with it.
        """
        if not self._under_way:
            return
        written, failure = self._under_way, None
        if self._write is not None:
            self._write.finish()
            written, failure = self._write.written, self._write.failure
        if not alone:
            told = failure and str(failure)
            written, told = broadcast_object((written, told), self._view.trainer.world)
            failure = failure or (RunFailed(told) if told else None)
        self._write, self._under_way = None, []
        self.pending = bool(self._asked)
        for path in written:
            if path not in self.whole:
                self.whole.append(path)
            self._view.context.set("checkpoint_path", path)
            fire(self._view.trainer.table.after_save, self._view)
        if failure is not None:
            raise failure

    def flush_despite(self, error: BaseException) -> None:
        """The same while that error is on its way; nothing is saved in a state it has left."""
        self._asked.clear()
        try:
            self.flush(alone=True)
        except Exception as failure:
            error.add_note(f"saving failed as well: {failure}")

    def _is_over(self, of_epoch: bool) -> bool:
        over = self._write is None or not self._write.is_alive()
        world = self._view.trainer.world
        if world.world_size == 1:
            return over
        if of_epoch:
            return bool(broadcast_object(over and not self._has_failed(), world))
        return self._has_failed()

    def _has_failed(self) -> bool:
        return self._write is not None and self._write.failure is not None


class _Write(threading.Thread):
    """Writes one state into files, one after the other; the interpreter does not end before it."""

    def __init__(self, paths: Sequence[Path], state: State | Snapshot) -> None:
        super().__init__(name="cvtrainer-checkpoint", daemon=False)
        self.written: list[Path] = []
        self.failure: BaseException | None = None
        self._paths = paths
        self._state: State | Snapshot | None = state

    def run(self) -> None:
        try:
            state = self._state
            assert state is not None
            if isinstance(state, Snapshot):
                state.wait()
                state = state.state
            for path in self._paths:
                write_checkpoint(path, state)
                self.written.append(path)
        except BaseException as failure:
            self.failure = failure
            if not threading.main_thread().is_alive():  # nobody is left to raise it to
                print(failure, file=sys.stderr, flush=True)
        finally:
            self._state = None

    def finish(self) -> None:
        if self.ident is not None:
            self.join()
