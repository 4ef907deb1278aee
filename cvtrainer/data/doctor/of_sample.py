"""A finding about one sample that was looked at."""

from __future__ import annotations

from typing import Any

from cvtrainer.data.doctor.finding import Finding, Severity, finding
from cvtrainer.data.survey import Sight


def of_sample(
    sight: Sight, check: str, what: str, *, severity: Severity | None = None, **details: Any
) -> Finding:
    """What that check says of the sample; its row and file are those of the look."""
    return finding(
        check,
        sight.split,
        what,
        row=sight.row,
        file=sight.file,
        severity=severity,
        details=details,
    )
