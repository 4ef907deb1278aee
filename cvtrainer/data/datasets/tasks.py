"""Which fields a sample has for each task; every storage delivers them under these names.

A task is a declaration and no class: a storage says which fields it can give, and a task is
possible where all of its fields are. Models and losses then find the same names whatever the
files look like.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from cvtrainer.core.errors import UserError

FIELDS_OF_TASK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": ("class_id",),
        "multilabel": ("class_ids",),
        "regression": ("value",),
        "keypoints": ("keypoints",),
        "detection": ("boxes", "box_labels"),
        "segmentation": ("mask",),
        "instances": ("boxes", "box_labels", "masks"),
        "generation": (),
    }
)
"""Target fields of each task; those of series, audio and text are classification's and
regression's: only their input differs."""


def task_fields(task: str, possible: Collection[str], where: str) -> tuple[str, ...]:
    """The fields of that task; an error where the storage lacks one of them."""
    fields = FIELDS_OF_TASK.get(task)
    if fields is None:
        raise UserError(f"no task {task!r}", where=where, todo=f"Use {', '.join(FIELDS_OF_TASK)}.")
    missing = [name for name in fields if name not in possible]
    if missing:
        tasks = [name for name, needed in FIELDS_OF_TASK.items() if set(needed) <= set(possible)]
        raise UserError(
            f"task {task} needs {missing[0]}, which this data does not have",
            where=where,
            todo=f"Possible here: {', '.join(tasks)}.",
        )
    return fields
