"""The `.ts` text form of time series: a header of `@` words, then one case a line.

The channels of a case are separated by colons, values by commas, and the class or the number to
predict stands last. Values may carry time stamps, which are passed over.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.series.record import (
    NoNumberError,
    SeriesContents,
    SeriesRecord,
    source_lines,
    values_of,
)

_STAMPED = re.compile(r"\(([^()]*),([^(),]*)\)")


def read_ts(path: Path) -> SeriesContents:
    """What that file holds."""
    lines = source_lines(path)
    header, start = _header(lines, path)
    labels = header.get("classlabel", ["false"])
    classes = tuple(labels[1:]) if _true(labels[:1]) else None
    has_numbers = _true(header.get("targetlabel", ["false"]))
    reader = _CaseReader(header, classes, has_numbers)
    records = [reader.read(line, text) for line, text in lines[start:] if text[0] != "#"]
    return SeriesContents(records, classes=classes or None, has_numbers=has_numbers)


class _CaseReader:
    """Reads the line of one case as the header announces it."""

    def __init__(
        self, header: dict[str, list[str]], classes: tuple[str, ...] | None, has_numbers: bool
    ) -> None:
        self.stamped = _true(header.get("timestamps", ["false"]))
        self.classes = classes
        self.has_numbers = has_numbers
        self.channels = _count(header, "dimensions", "dimension")
        if _true(header.get("univariate", ["false"])):
            self.channels = 1
        equal = _true(header.get("equallength", ["false"]))
        self.length = _count(header, "serieslength") if equal else None

    def read(self, line: int, text: str) -> SeriesRecord:
        record = SeriesRecord(str(line))
        parts = text.split(":") if not self.stamped else _outside_brackets(text)
        label = parts.pop().strip() if self.classes is not None or self.has_numbers else None
        if self.channels is not None and len(parts) != self.channels:
            return record.spoiled(f"{len(parts)} channels instead of {self.channels}", "size")
        try:
            channels = [values_of(self._texts(part)) for part in parts]
            number = float(values_of([label])[0]) if self.has_numbers and label else None
        except NoNumberError as error:
            return record.spoiled(str(error))
        lengths = {len(channel) for channel in channels}
        if len(lengths) != 1:
            return record.spoiled(f"channels of {min(lengths)} to {max(lengths)} values", "size")
        if self.length is not None and lengths != {self.length}:
            return record.spoiled(f"{lengths.pop()} values instead of {self.length}", "size")
        values = np.stack(channels, axis=1)
        if self.has_numbers:
            return SeriesRecord(str(line), values, number=number)
        return SeriesRecord(str(line), values, label=label)

    def _texts(self, part: str) -> list[str]:
        if self.stamped:
            return [value for _, value in _STAMPED.findall(part)]
        return part.split(",")


def _header(lines: list[tuple[int, str]], path: Path) -> tuple[dict[str, list[str]], int]:
    """The words of the header, and the place of the first case."""
    header: dict[str, list[str]] = {}
    for place, (line, text) in enumerate(lines):
        if text.startswith(("#", "%")):
            continue
        if not text.startswith("@"):
            raise UserError("values stand before @data", where=f"{path}:{line}")
        word, *values = text[1:].split()
        if word.lower() == "data":
            return header, place + 1
        header[word.lower()] = values
    raise UserError("no @data line, so this is no .ts file", where=str(path))


def _outside_brackets(text: str) -> list[str]:
    """Parts between colons, where colons inside of (time, value) do not count."""
    return re.split(r":(?![^(]*\))", text)


def _true(values: list[str]) -> bool:
    return bool(values) and values[0].lower() == "true"


def _count(header: dict[str, list[str]], *words: str) -> int | None:
    for word in words:
        values = header.get(word)
        if values and values[0].isdigit():
            return int(values[0])
    return None
