"""Weights of networks that a task asks and does not train: its `frozen`, from `frozen_weights`.

They are no part of a checkpoint, so they are read whenever training starts, and only then.
"""

from __future__ import annotations

from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.engine.hand_over import Wish, hand_over
from cvtrainer.engine.weight_files import read_weights
from cvtrainer.protocols import Task


def fill_frozen(task: Task) -> None:
    """Each from its file; of a checkpoint of ours the average where there is one."""
    for name, file in getattr(task, "frozen_weights", {}).items():
        path = Path(file)
        if not path.exists():
            raise UserError(f"the weights of {name} are not there", where=str(path))
        network = task.frozen[name]  # type: ignore[attr-defined]
        hand_over({"model": network}, read_weights(path), Wish(), source=str(path)).insist()
        network.requires_grad_(False)
