"""A data set of which only the path is known: the format is detected, and the evidence is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cvtrainer.data.datasets import ImageFolder
from cvtrainer.data.datasets.adapter import DataAdapter


def detected(
    data_path: str | Path,
    *,
    task: str | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
) -> DataAdapter:
    """The data set at that path."""
    return ImageFolder(data_path, classes=classes)
