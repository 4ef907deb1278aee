"""Ctrl-C and SIGTERM end a stage at its next border instead of in the middle of a step.

The stage then saves where it stands, and `--resume auto` goes on from there. With several processes
all end at the same border, whoever was told to. A run is often told twice at once (by the terminal
and by its launcher, say); only a signal that comes later does not wait for the save.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from cvtrainer.trainer import Trainer

AT_ONCE_S = 3.0
"""Signals within this time are one."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_at_a_border(trainer: Trainer) -> Iterator[None]:
    """Raises KeyboardInterrupt at the end if a signal came, in all processes alike."""
    borders, alone = trainer.borders, trainer.world.world_size == 1
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(monotonic())
        if caught[-1] - caught[0] > AT_ONCE_S:
            raise KeyboardInterrupt
        borders.wish_to_stop(interrupted=True)

    earlier = {number: signal.signal(number, stop) for number in _SIGNALS}
    interrupted = False
    try:
        yield
        interrupted = borders.all_leave(told=bool(caught))
    finally:
        for number, handler in earlier.items():
            # Ranks do not end at the same instant, and a launcher hurries those that are left.
            hurried = interrupted and not alone
            signal.signal(number, signal.SIG_IGN if hurried else handler)
    if interrupted:
        trainer.say(
            f"interrupted at epoch {trainer.clock.epoch}, step {trainer.clock.step}; "
            "saved, go on with --resume auto"
        )
        raise KeyboardInterrupt
