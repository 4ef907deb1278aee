"""Names of metrics as people write them, found among those that were measured.

Stored names are `<phase>/<meter>`. `val_accuracy`, `accuracy` and `val_accuracy_top1` all mean
`val/accuracy`; without a phase, validation is meant.
"""

from __future__ import annotations

from collections.abc import Iterable


def find_metric(name: str, known: Iterable[str], *, phase: str = "val") -> str | None:
    """The stored name that is meant, or None."""
    known = set(known)
    spellings = [name, f"{phase}/{name}"]
    if "_" in name and "/" not in name:
        head, _, tail = name.partition("_")
        spellings += [f"{head}/{tail}", f"{'val' if head == 'valid' else head}/{tail}"]
    spellings += [spelling.removesuffix("_top1") for spelling in list(spellings)]
    return next((spelling for spelling in spellings if spelling in known), None)
