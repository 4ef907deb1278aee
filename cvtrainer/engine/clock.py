"""The one clock of a run: which epoch, which batch of it, how many steps.

A position is a batch border. `closed` tells whether the end of the epoch (its hooks, its
evaluation) has been dealt with, so that a state saved after the last batch but before the
evaluation resumes with the evaluation, and one saved after it does not repeat it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Clock:
    """Counters only move forward, and only through these methods."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    samples: int = 0
    closed: bool = True
    batches: int = 0
    """Batches of the whole stage; steps are fewer where several batches make one step."""
    stepped: bool = True
    """Whether the latest batch completed an optimizer step."""
    cut_at: int = 0
    """From this batch on the epoch is cut otherwise than it began, after a resume."""
    cut_samples: int = 0
    """Samples of the epoch's order that lie before that batch, over all ranks."""
    cut_inside: int = 0
    """Batches before it that belong to its group of batches."""

    def open_epoch(self) -> bool:
        """Begin the next epoch; False if one is under way already (after a resume)."""
        if not self.closed:
            return False
        self.epoch += 1
        self.batch = 0
        self.cut_at = self.cut_samples = self.cut_inside = 0
        self.closed = False
        return True

    def tick(self, samples: int, *, stepped: bool = True) -> None:
        """One batch has gone through, and with the last one of a group the optimizer has moved."""
        self.batch += 1
        self.batches += 1
        self.stepped = stepped
        self.step += stepped
        self.samples += samples

    def cut(self, *, at: int, samples: int, inside: int) -> None:
        """The rest of the epoch comes in batches of another size: so many lie behind it now."""
        self.batch = self.cut_at = at
        self.cut_samples, self.cut_inside = samples, inside

    def place_in_groups(self, batches: int) -> tuple[int, int]:
        """The next batch's place among those that are grouped to steps, and how many there are."""
        before = self.cut_at - self.cut_inside
        return self.batch - before, batches - before

    def close_epoch(self) -> None:
        self.closed = True

    @property
    def epochs_done(self) -> int:
        return self.epoch if self.closed else self.epoch - 1

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in asdict(self).items():
            setattr(self, name, state.get(name, value))
