"""How much of a stage is verified: a few epochs of a few batches each, as few as tell something."""

from __future__ import annotations

USUAL_BATCHES = 24
FEWEST_STEPS = 6
EPOCHS = 3
EVALUATION_BATCHES = 4


class Lengths:
    """Of one stage at a time; `steps` are optimizer steps, None the usual number."""

    def __init__(self, steps: int | None) -> None:
        self._steps = steps
        self.accumulate = 1
        self.batches = USUAL_BATCHES
        self._per_epoch = USUAL_BATCHES

    def of_stage(self, accumulate: int, per_epoch: int, *, epochs: int | None) -> None:
        """Set the lengths for a stage of so many epochs, each of so many batches."""
        self.accumulate = accumulate
        wanted = max(USUAL_BATCHES, FEWEST_STEPS * accumulate)
        self.batches = wanted if self._steps is None else self._steps * accumulate
        parts = min(EPOCHS, epochs or EPOCHS)
        self._per_epoch = min(per_epoch, max(1, -(-self.batches // parts)))

    def limit(self, phase: str, length: int) -> int:
        """Batches of an epoch of that phase."""
        return min(length, self._per_epoch if phase == "train" else EVALUATION_BATCHES)

    def reached(self, batches: int) -> bool:
        """Whether a stage that has seen so many batches may end with this epoch."""
        return batches >= self.batches
