"""`cvtrainer data stats`: the figures of each split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cvtrainer.data.statistics import statistics_of
from cvtrainer.jobs.data.opened import Request, open_data


def stats(
    request: Request,
    *,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """The figures of every split, in order."""
    opened = open_data(request).require_all()
    return [
        statistics_of(subject, threads=threads, progress=progress) for subject in opened.subjects
    ]
