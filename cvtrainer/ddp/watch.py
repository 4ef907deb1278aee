"""One process's failure ends all of them within seconds, and its cause is told once.

The first to fail says so at the launcher's store, where a thread in every other process looks
about once a second. Those others then leave without a word: whatever they would say (a lost
connection, say) is a consequence. Multi-node runs are covered, because the store is shared.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

LOOK_EVERY_S = 1.0
GRACE_S = 5.0
_FAILED = 1
_INTERRUPTED = 130


@contextmanager
def ending_together(rank: int, world_size: int) -> Iterator[None]:
    """Watch the other processes while this one works."""
    if world_size == 1:
        yield
        return
    board = _Board(rank, world_size)
    watch = _Watch(board)
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except SystemExit:
        raise
    except BaseException:
        if board.claim():
            raise
        raise SystemExit(_FAILED) from None
    finally:
        watch.stop()


class _Board:
    """A place at the launcher's store where the first process to fail writes its rank."""

    def __init__(self, rank: int, world_size: int) -> None:
        self._rank = str(rank)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        run = os.environ.get("TORCHELASTIC_RUN_ID", "")
        self._key = f"cvtrainer/{run}/{attempt}/first_to_fail"
        self._store = TCPStore(
            os.environ.get("MASTER_ADDR", "localhost"),
            int(os.environ.get("MASTER_PORT", "0")),
            world_size=None,
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=30),
        )

    def claim(self) -> bool:
        """Whether this process is the first to fail, or cannot know it."""
        try:
            first = self._store.compare_set(self._key, "", self._rank)
        except (distributed.DistError, RuntimeError):
            return True
        return first.decode() == self._rank

    def another_failed(self) -> bool:
        """Whether some other process has failed; a store that is gone means its host has."""
        try:
            if not self._store.check([self._key]):
                return False
            return bool(self._store.get(self._key).decode() != self._rank)
        except (distributed.DistError, RuntimeError):
            return True


class _Watch(threading.Thread):
    """Ends this process when another one has failed and this one does not notice by itself."""

    def __init__(self, board: _Board) -> None:
        super().__init__(name="cvtrainer-watch", daemon=True)
        self._board = board
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            if self._board.another_failed():
                if not self._done.wait(GRACE_S):
                    _leave_at_once()
                return

    def stop(self) -> None:
        self._done.set()


def _leave_at_once() -> None:
    """Without waiting for a collective operation that will never end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_FAILED)
