"""The folders of a gate: the best artefact, the one that waits to become it, the last that failed.

An artefact becomes the best on disk when the checkpoint of the same weights is whole, never before:
whoever kills the run between the two finds both as they were, or both as they are.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from cvtrainer.deploy.artefact import remove_artefact

_WAITING = "step_"


class KeptArtefacts:
    """Below the run's folder of artefacts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: str | None = None
        self._under_way: str | None = None

    @property
    def best(self) -> Path:
        """The best one that passed."""
        return self._folder / "best"

    @property
    def failed(self) -> Path:
        """The last one that did not."""
        return self._folder / "failed"

    @property
    def candidate(self) -> Path:
        """Where the next one is made."""
        return self._folder / "candidate"

    def sort_in(self, step: int, *, passes: bool, best: bool) -> None:
        """What was made waits for its checkpoint, stays to be looked at, or goes."""
        if not self.candidate.exists():
            return
        if best:
            self._move(self.candidate, self._folder / f"{_WAITING}{step}")
            self._waiting = f"{_WAITING}{step}"
        elif not passes:
            self._move(self.candidate, self.failed)
        else:
            remove_artefact(self.candidate)

    def saving(self) -> None:
        """The checkpoint of the one that waits is being written; a newer one may come meanwhile."""
        self._under_way = self._waiting

    def publish(self, *, move: bool) -> None:
        """That checkpoint is whole."""
        done, self._under_way = self._under_way, None
        if done is not None and move:
            self._move(self._folder / done, self.best)
        if done == self._waiting:
            self._waiting = None

    def go_on(self) -> None:
        """After a resume: what was about to become the best does, what no state knows of goes."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and (self._folder / waiting).exists():
            self._move(self._folder / waiting, self.best)
        for one in (*self._folder.glob(f"{_WAITING}*"), self.candidate):
            shutil.rmtree(one, ignore_errors=True)

    def set_aside(self) -> Path | None:
        """The best one was judged otherwise; None where there is none."""
        if not self.best.exists():
            return None
        earlier = self._folder / "earlier"
        self._move(self.best, earlier)
        return earlier

    def state_dict(self) -> dict[str, Any]:
        """What is on its way."""
        return {"waiting": self._waiting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self._waiting = state["waiting"]

    def _move(self, source: Path, target: Path) -> None:
        remove_artefact(target)
        os.replace(source, target)
