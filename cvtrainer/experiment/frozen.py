"""Weights of networks that a task asks and does not train: its `frozen`, from `frozen_weights`.

Each is the name of an earlier stage or a file; of a checkpoint of ours the average counts.

They are no part of a checkpoint, so they are read whenever training starts, and only then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.engine.hand_over import Wish, hand_over
from cvtrainer.engine.weight_files import read_weights
from cvtrainer.protocols import State, Task


def fill_frozen(task: Task, left_by: Callable[[str], State | None]) -> None:
    """From what `left_by` gives for the name of an earlier stage, else from the file."""
    for name, source in getattr(task, "frozen_weights", {}).items():
        state = left_by(source)
        if state is None:
            if not Path(source).exists():
                raise UserError(
                    f"the weights of {name} are not there",
                    where=source,
                    todo="Name a file or an earlier stage.",
                )
            state = read_weights(Path(source))
        network = task.frozen[name]  # type: ignore[attr-defined]
        hand_over({"model": network}, state, Wish(), source=source).insist()
        network.requires_grad_(False)
