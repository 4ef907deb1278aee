"""The places between batches and between epochs, where a stage may end.

With several processes all of them end at the same one, whoever wants it. Passing a border is also
the sign of life that the watch over the processes waits for.
"""

from __future__ import annotations

from cvtrainer.ddp.agreement import GO_ON, INTERRUPTED, STOP, Agreement, agreement
from cvtrainer.ddp.world import World
from cvtrainer.engine.clock import Clock


class Borders:
    """`ends` tells whether all end here; `wished` is what this process alone wants."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.ends = False
        self.wished = False
        self.interrupted = False
        """Whether the stage that has just ended did so because somebody was told to."""
        self._world = world
        self._clock = clock
        self._wish = GO_ON
        self._agreement: Agreement | None = None

    def wish_to_stop(self, *, interrupted: bool = False) -> None:
        """End at the next border."""
        self._wish = max(self._wish, INTERRUPTED if interrupted else STOP)
        self.wished = True

    def open(self) -> None:
        """The stage begins; all ranks do this together."""
        self.interrupted = False
        if self._agreement is None:
            self._agreement = agreement(self._world.world_size)

    def close(self) -> None:
        """The stage is over: it may be taken up again."""
        self._world.pulse.rest()
        self.ends = self.wished = False
        self._wish = GO_ON

    def between_batches(self) -> bool:
        """Whether all end here."""
        assert self._agreement is not None
        return self._note(self._agreement.border(self._wish))

    def between_epochs(self) -> bool:
        """Whether all end here; waits for the others. From here on signs of life are due."""
        assert self._agreement is not None
        ends = self.ends or self._note(self._agreement.settle(self._wish))
        self._world.pulse.begin()
        return ends

    def rest(self) -> None:
        """What comes now may take its time."""
        self._world.pulse.rest()

    def work(self) -> None:
        """Signs of life are due again."""
        self._world.pulse.begin()

    def all_leave(self, *, told: bool) -> bool:
        """After the stage: whether all go, because some process was told to; waits for all.

        Nobody leaves before the others have come here, so whoever saves can finish.
        """
        assert self._agreement is not None
        if not self.interrupted:
            self.interrupted = self._agreement.settle(INTERRUPTED if told else GO_ON) == INTERRUPTED
        if self.interrupted:
            self._agreement.meet()
            self._world.pulse.leaves_in_order = True
        return self.interrupted

    def mark(self, phase: str) -> None:
        """A piece of work is done."""
        self._world.pulse.mark(phase, self._clock.epoch, self._clock.step)

    def _note(self, agreed: int) -> bool:
        self.ends = agreed != GO_ON
        self.interrupted = agreed == INTERRUPTED
        return self.ends
