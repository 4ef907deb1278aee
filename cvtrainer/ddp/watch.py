"""One process's failure ends all of them within seconds, and its cause is told once.

A thread in every process looks about once a second whether another one has failed, was killed, or
is stuck, this one included. The first to know says so in the ranks' corner of the store; all others
then leave without a word, because whatever they would say (a lost connection, say) is a
consequence. The launcher tells of a killed process on its own machine.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from torch import distributed

from cvtrainer.ddp.board import Answer, Board
from cvtrainer.ddp.lifeline import Lifeline, lifeline
from cvtrainer.ddp.meeting import Meeting, start_follows
from cvtrainer.ddp.pulse import Output, Pulse, Standing, main_thread_stands

LOOK_EVERY_S = 1.0
GRACE_S = 4.0
"""For a main thread that notices by itself."""
_ANSWERS_S = 2.0
_SILENT_S = 5.0
"""So long after the limit a rank that does not answer is held to be stuck, not slow."""
_FAILED = 1
_INTERRUPTED = 130
_LOST_CONNECTION = re.compile(r"gloo|nccl|connection|socket|store|peer", re.IGNORECASE)


@contextmanager
def ending_together(
    rank: int, world_size: int, pulse: Pulse, meeting: Meeting | None
) -> Iterator[None]:
    """Watch the other processes while this one works."""
    if world_size == 1 or meeting is None:
        yield
        return
    watch = _Watch(Board(rank, world_size, meeting), pulse)
    with suppress(RuntimeError, ValueError, OSError):  # needs a real file to write to
        faulthandler.enable()
    watch.start()
    in_order = False
    try:
        yield
        in_order = True
    except KeyboardInterrupt:
        in_order = pulse.leaves_in_order
        raise SystemExit(_INTERRUPTED) from None
    except SystemExit:
        raise
    except BaseException as error:
        if watch.is_first_to_fail(error):
            raise
        raise SystemExit(_FAILED) from None
    finally:
        watch.stop(in_order=in_order)


class _Watch(threading.Thread):
    """Ends this process when another one has failed and this one does not notice by itself."""

    def __init__(self, board: Board, pulse: Pulse) -> None:
        super().__init__(name="cvtrainer-watch", daemon=True)
        self._board = board
        self._pulse = pulse
        self._line: Lifeline = lifeline(board.rank, board.world_size, board.store)
        self._done = threading.Event()
        self._somebody_failed = threading.Event()
        self._output = Output()
        self._answered = ""
        self._asked_at: float | None = None
        self._looked_at = monotonic()

    def run(self) -> None:
        while not self._done.is_set():
            lost = self._line.lost(LOOK_EVERY_S)
            if self._done.is_set():
                break
            for rank in lost:
                self._note_lost(rank)
            if self._somebody_failed.is_set() or self._board.another_failed():
                self._somebody_failed.set()
                if not self._done.wait(GRACE_S):
                    _leave_at_once()
                break
            self._look_at_progress()
        self._line.close()

    def stop(self, *, in_order: bool) -> None:
        """The thread ends with its next look; where all is well that is waited for.

        An interpreter that ends while the thread is inside torch's store would abort.
        """
        self._done.set()
        if in_order:
            self._line.farewell()
            self.join(2 * LOOK_EVERY_S)

    def is_first_to_fail(self, error: BaseException) -> bool:
        """Whether the error is a cause; a lost connection has one that may be known in a moment."""
        seems_lost = isinstance(error, distributed.DistError) or (
            isinstance(error, RuntimeError) and _LOST_CONNECTION.search(str(error)) is not None
        )
        if seems_lost and self._somebody_failed.wait(GRACE_S):
            return False
        return self._board.claim()

    # -- who was killed

    def _note_lost(self, rank: int) -> None:
        """The first to see it tells the others, and the person where no launcher will."""
        if self._board.claim(for_rank=rank):
            if start_follows():
                _tell(f"rank {rank} is gone; all processes end and are started again")
            elif self._board.is_far(rank):
                _tell(f"rank {rank}, on another machine, is gone; all processes end")
        self._somebody_failed.set()

    # -- who is stuck

    def _look_at_progress(self) -> None:
        pulse, board = self._pulse, self._board
        stands = main_thread_stands(pulse.gpu) if pulse.idle > LOOK_EVERY_S else None
        writes, was_held = self._output.grew(), self._was_held()
        if stands is not None and (writes or was_held or stands.compiles):
            pulse.excuse()
        question = board.question()
        if question != self._answered:
            self._answered = question
            board.answer(question, self._own_answer(stands))
        if stands is None or pulse.idle < pulse.limit:
            self._asked_at = None
            return
        if not stands.waits:
            if board.claim():
                _tell(self._stuck(stands))
            _leave_at_once()
        self._ask(stands)

    def _was_held(self) -> bool:
        """This thread could not look for a while: the process was halted, or its interpreter."""
        before, self._looked_at = self._looked_at, monotonic()
        return self._looked_at - before > 3 * LOOK_EVERY_S

    def _own_answer(self, stands: Standing | None) -> Answer:
        pulse = self._pulse
        stands = stands or main_thread_stands(pulse.gpu)
        overdue = not pulse.beating or pulse.idle >= pulse.limit
        return Answer(stands.place, pulse.doing(), waits=stands.waits, overdue=overdue)

    def _ask(self, stands: Standing) -> None:
        """This rank has waited too long: for whom?"""
        now = monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._board.ask()
            return
        if now - self._asked_at < _ANSWERS_S:
            return
        answers = self._board.answers(self._answered)
        silent = sorted(set(range(self._board.world_size)) - set(answers))
        if silent:
            if self._pulse.idle < self._pulse.limit + _SILENT_S:
                return
            names = ", ".join(str(rank) for rank in silent)
            self._end(f"rank {names} gives no sign of life, and the others wait for it", silent)
        if all(answer.waits and answer.overdue for answer in answers.values()):
            places = "; ".join(
                f"rank {rank} {answer.doing}, at {answer.place}"
                for rank, answer in sorted(answers.items())
            )
            self._end(
                f"stuck: every rank waits for the others, and not at the same place: {places}. "
                "Perhaps one of them has more batches, or takes a turn that the others do not"
            )
        self._asked_at = None

    def _end(self, text: str, silent: Iterable[int] = ()) -> None:
        if self._board.claim():
            _tell(f"{text}. {self._limit()}")
            numbers = [number for rank in silent if (number := self._board.process_here(rank))]
            for way in (signal.SIGABRT, signal.SIGKILL):  # the first lets it tell where it stands
                for number in numbers:
                    with suppress(OSError):
                        os.kill(number, way)
                self._done.wait(LOOK_EVERY_S)
        _leave_at_once()

    def _stuck(self, stands: Standing) -> str:
        pulse = self._pulse
        return (
            f"rank {self._board.rank} is stuck {pulse.doing()}, at {stands.place}: "
            f"nothing new for {pulse.idle:.0f} s. The others wait for it in a collective "
            f"operation. {self._limit()}"
        )

    def _limit(self) -> str:
        return f"All processes end (ddp.stuck_after is {self._pulse.limit:.0f} s)."


def _tell(text: str) -> None:
    """One write for the whole line, so that ranks' lines do not run into each other."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _leave_at_once() -> None:
    """Without waiting for a collective operation that will never end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_FAILED)
