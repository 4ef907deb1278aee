"""An exception on its way from a worker process to the process that trains.

A user's error stays one line; an exception of the user's own code keeps the worker's traceback.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass

from cvtrainer.core.errors import UserError


@dataclass(frozen=True)
class Failure:
    """An exception on its way from a worker process to the process that trains."""

    pickled: bytes | None
    trace: str

    @staticmethod
    def of(error: Exception) -> Failure:
        """Pack that exception so that it survives the way."""
        trace = "".join(traceback.format_exception(error))
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)
        except Exception:
            return Failure(None, trace)
        return Failure(pickled, trace)

    def exception(self) -> Exception:
        """The exception to raise; a user's own keeps the worker's traceback as a note."""
        if self.pickled is None:
            return RuntimeError(f"a data worker failed:\n{self.trace}")
        error: Exception = pickle.loads(self.pickled)
        if not isinstance(error, UserError):
            error.add_note(f"Traceback in the data worker:\n{self.trace}")
        return error
