"""`cvtrainer data doctor`: examine all splits together, report, propose; change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvtrainer.core.files import write_whole
from cvtrainer.data.doctor import (
    Finding,
    Severity,
    count_by_severity,
    examine,
    finding,
    plan_of,
)
from cvtrainer.jobs.data.opened import Request, open_data

FORMAT = 1
"""Version of the report's form."""


@dataclass(frozen=True)
class Report:
    """What the examination found, and how many samples each split has."""

    findings: list[Finding]
    samples: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each severity."""
        return count_by_severity(self.findings)

    def fails(self, *, strict: bool = False) -> bool:
        """Whether there is an error, or with `strict` a warning."""
        bad = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
        return any(one.severity in bad for one in self.findings)

    def as_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "samples": self.samples,
            "counts": self.counts,
            "findings": [one.as_plain() for one in self.findings],
        }


def diagnose(
    request: Request,
    *,
    threads: int | None = None,
    near: bool = True,
    report: Path | None = None,
    plan: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Examine the data; write the report and the plan of proposals where asked to."""
    opened = open_data(request)
    if opened.broken and not opened.subjects and len(opened.blocks) == 1:
        opened.require_all()
    found = [
        finding("unusable", split, error.what, file=error.where)
        for split, error in opened.broken.items()
    ]
    found += examine(
        opened.subjects,
        threads=threads,
        near=near,
        complete=opened.complete and not opened.broken,
        progress=progress,
    )
    made = Report(found, {one.split: len(one) for one in opened.subjects})
    if report is not None:
        write_whole(report, as_json(made.as_plain()))
    if plan is not None:
        write_whole(plan, as_json(plan_of(found)))
    return made


def as_json(value: Any) -> str:
    """Readable, in UTF-8; numbers of numpy as plain ones, no NaN."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
