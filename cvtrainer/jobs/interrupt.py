"""Ctrl-C and SIGTERM end a stage at its next border instead of in the middle of a step.

The stage then saves where it stands, and `--resume auto` goes on from there. A second signal does
not wait. With several processes the launcher decides, because ranks must leave a step together.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cvtrainer.trainer import Trainer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_at_a_border(trainer: Trainer) -> Iterator[None]:
    """Raises KeyboardInterrupt at the end if a signal came and the stage stopped for it."""
    if trainer.world.world_size > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        trainer.stop()

    earlier = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if caught:
        trainer.say(
            f"interrupted at epoch {trainer.clock.epoch}, step {trainer.clock.step}; "
            "saved, go on with --resume auto"
        )
        raise KeyboardInterrupt
