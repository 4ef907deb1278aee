"""From findings to a plan of repairs that a person reads first: proposals, never deeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cvtrainer.data.doctor.finding import Finding

_ONE_A_SAMPLE = ("remove", "rename", "rotate")


def plan_of(findings: Iterable[Finding]) -> dict[str, Any]:
    """One entry per thing that could be done, each with its reason; equal ones once."""
    entries: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()
    for one in findings:
        action = one.details.get("action")
        if action is None:
            continue
        split = one.details.get("remove_split", one.split)
        row = one.details.get("remove_row", one.row)
        file = one.details.get("remove_file", one.file)
        key = (action, split, row, file)
        if action in _ONE_A_SAMPLE:
            if key in seen:
                continue
            seen.add(key)
        more = {
            name: value
            for name, value in one.details.items()
            if name != "action" and not name.startswith("remove_")
        }
        reason = one.what
        if (split, row) != (one.split, one.row):  # the partner is to go: it was told of this one
            reason = f"{one.check} of {one.file} ({one.split} {one.row})"
            more.update(other_split=one.split, other_row=one.row, other_file=one.file)
        entries.append(
            {
                "action": action,
                "split": split,
                "row": row,
                "file": file,
                "check": one.check,
                "reason": reason,
                **more,
            }
        )
    return {"changes_nothing": True, "proposals": entries}
