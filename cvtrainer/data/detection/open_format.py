"""The data set of a config that leaves its format open: which storage it is, not yet built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cvtrainer.data.detection.candidate import Candidate
from cvtrainer.data.detection.detect import detect


def detected(
    data_path: str,
    *,
    task: str | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
) -> Candidate:
    """What lies at that path; what is given here goes on to the storage's own class."""
    found = detect(data_path, task=task, split=split)
    given = {"task": task, "split": split, "classes": classes}
    words = {name: value for name, value in given.items() if value is not None}
    return replace(found, words={**found.words, **words})
