"""Whether what a `task:` node gives is a task: one that trains, or one that reads outputs.

Asked before data is opened, because each of its methods is called at another time of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.core.errors import UserError

TRAINS = ("networks", "updates", "evaluate", "replace")
READS = ("decode", "describe")
UPDATE = ("name", "every", "networks", "compute")


def refuse_gaps(task: Any, type_name: str) -> None:
    """Name what is missing of the form that it comes nearest to."""
    where = f"task: {type_name}"
    if not hasattr(task, "updates"):
        lacks = _missing(task, READS)
        if len(lacks) == len(READS):
            raise UserError(
                "it has neither updates(), as a task that trains, nor decode() and describe(), as "
                "one that reads outputs",
                where=where,
                todo="docs/tasks.md shows both.",
            )
        _refuse(lacks, where)
        return
    _refuse(_missing(task, TRAINS), where)
    for update in task.updates():
        name = getattr(update, "name", "an update without a name")
        _refuse(_missing(update, UPDATE), f"{where}: {name}")


def _missing(part: Any, names: Sequence[str]) -> list[str]:
    return [name for name in names if not hasattr(part, name)]


def _refuse(lacks: Sequence[str], where: str) -> None:
    if lacks:
        raise UserError(
            f"it has no {', '.join(lacks)}", where=where, todo="docs/tasks.md says what each means."
        )
