"""Which array of a file is what: inputs or targets, and of which part of the data, by its name.

`x_train`, `train-images-idx3-ubyte`, `test/labels`: names are taken apart into words. Two arrays
for one purpose are an error that names both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cvtrainer.core.errors import UserError

PURPOSES: Mapping[str, tuple[str, ...]] = {
    "x": (
        "x", "image", "images", "img", "imgs", "picture", "pictures", "data", "features", "input",
        "inputs",
    ),
    "y": ("y", "label", "labels", "target", "targets", "value", "values"),
    "masks": ("mask", "masks"),
    "keypoints": ("keypoint", "keypoints", "landmarks"),
    "group": ("group", "groups", "subject", "patient"),
    "class_names": ("classes", "names", "class"),
}  # fmt: skip
_PARTS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train", "training"}),
    "val": frozenset({"val", "valid", "validation", "dev"}),
    "test": frozenset({"test", "t10k", "testing"}),
}


def purpose_of(name: str) -> str | None:
    """What an array of that name is for."""
    words = _words(name)
    if "names" in words or words & {"classes"}:
        return "class_names"
    for purpose, known in PURPOSES.items():
        if words.intersection(known):
            return purpose
    return None


def part_of(name: str) -> str | None:
    """The part of the data that an array of that name belongs to."""
    words = _words(name)
    return next((part for part, known in _PARTS.items() if words & known), None)


def choose_arrays(
    arrays: Mapping[str, Any], said: Mapping[str, str], split: str | None, where: str
) -> dict[str, str]:
    """The array of each purpose, for that part of the data."""
    for purpose, name in said.items():
        if purpose not in PURPOSES:
            raise UserError(
                f"arrays have no purpose {purpose!r}",
                where=where,
                todo=f"Use {', '.join(PURPOSES)}.",
            )
        if name not in arrays:
            raise UserError(f"no array {name!r}", where=where, todo=_there_is(arrays))
    free = [name for name in arrays if name not in said.values()]
    if "x" not in said:
        free = _of_part(free, split, where)
    chosen = dict(said)
    for purpose in PURPOSES:
        found = [name for name in free if purpose_of(name) == purpose]
        if purpose in chosen or not found:
            continue
        if len(found) > 1:
            raise UserError(
                f"{' and '.join(found[:4])} could each be {purpose}",
                where=where,
                todo=f"Say which, e.g. keys: {{{purpose}: {found[0]}}}.",
            )
        chosen[purpose] = found[0]
    if "x" not in chosen:
        alone = [name for name in free if purpose_of(name) is None]
        if len(alone) != 1:
            raise UserError(
                "no array is clearly the input",
                where=where,
                todo=f"Say keys: {{x: ...}}. {_there_is(arrays)}",
            )
        chosen["x"] = alone[0]
    return chosen


def _of_part(names: list[str], split: str | None, where: str) -> list[str]:
    """The names of that part and those of no part."""
    parts = {name: part_of(name) for name in names}
    found = sorted({part for part in parts.values() if part is not None})
    if split is None:
        if len(found) > 1:
            raise UserError(
                f"there are arrays for {' and '.join(found)}",
                where=where,
                todo=f"Say split: {found[-1]}.",
            )
        return names
    wanted = part_of(split) or split
    if wanted not in found:
        raise UserError(
            f"no array is of split {split!r}",
            where=where,
            todo=f"There is {', '.join(found)}." if found else _there_is(names),
        )
    return [name for name in names if parts[name] in (wanted, None)]


def _there_is(names: Iterable[str]) -> str:
    return f"There is {', '.join(list(names)[:12])}."


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))
