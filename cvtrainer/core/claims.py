"""A place for one process at a time: a lock on a file or a folder that ends with its process."""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_error


class Claim:
    """Held until it is closed or forgotten; a process that was killed lets go at once."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            _leave_to_this_process(self)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def claimed(path: Path, busy: UserError, *, patience: float = 0.0) -> Claim:
    """Claim a folder, or a file, which is made where there is none; `busy` tells that somebody
    else has it. Where the system has no such locks, the place is used as it is."""
    try:
        import fcntl
    except ImportError:
        return Claim()
    try:
        how = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        descriptor = os.open(path, how, 0o666)
    except OSError as error:
        raise write_error(path, error) from error
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Claim(descriptor)
        except OSError as error:
            taken = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
            if taken and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            os.close(descriptor)
            if not taken:
                return Claim()
            raise busy from error


@contextmanager
def claim_of(path: Path, busy: UserError) -> Iterator[None]:
    """The same for as long as a block runs."""
    claim = claimed(path, busy)
    try:
        yield
    finally:
        claim.close()


def _leave_to_this_process(claim: Claim) -> None:
    """A forked child shares the lock with its parent and would keep it alive: it closes its end."""
    known = weakref.ref(claim)

    def close() -> None:
        inherited = known()
        if inherited is not None:
            inherited.close()

    os.register_at_fork(after_in_child=close)
