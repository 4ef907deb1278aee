"""How figures and findings of data look on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cvtrainer.cli.table import paint, table

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
_SHOWN = 5
_MOST_CLASSES = 40


def finding_lines(findings: Sequence[Any], *, everything: bool = False) -> Iterator[str]:
    """One line a finding; of many of one kind the first few, and how many more there are."""
    kinds: dict[tuple[str, str], list[Any]] = {}
    for one in findings:
        kinds.setdefault((one.severity.value, one.check), []).append(one)
    for (severity, check), some in kinds.items():
        shown = some if everything else some[:_SHOWN]
        for one in shown:
            yield f"{paint(severity, _STYLES[severity])}  {check}  {one.line}"
        if len(some) > len(shown):
            more = f"… and {len(some) - len(shown)} more of {check} (--all prints them)"
            yield f"{paint(severity, _STYLES[severity])}  {more}"


def statistics_text(splits: Sequence[Mapping[str, Any]]) -> str:
    """The figures of the splits side by side, then their classes."""
    rows = [["", *[str(one["split"]) for one in splits]]]
    columns = [dict(_lines(one)) for one in splits]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows += [[name, *[column.get(name, "") for column in columns]] for name in names]
    blocks = [table(rows)]
    classes = _classes(splits)
    if classes:
        blocks.append(classes)
    return "\n\n".join(blocks)


def _lines(one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "samples", str(one["samples"])
    yield "input", str(one["kind"])
    if one.get("task"):
        yield "task", str(one["task"])
    for name in ("boxes", "without boxes", "masks", "keypoints", "visible keypoints"):
        if name in one:
            yield name, str(one[name])
    yield "bytes", f"{one['bytes'] / 1e6:.1f} MB"
    if one["unusable"]:
        yield "unusable", str(one["unusable"])
    if one.get("missing values"):
        yield "missing values", str(one["missing values"])
    pictures = one.get("pictures")
    if pictures:
        for side in ("width", "height", "aspect"):
            yield side, _range(pictures[side])
        yield "distinct sizes", str(pictures["distinct sizes"])
        yield "modes", _counts(pictures["modes"])
        if pictures["formats"]:
            yield "formats", _counts(pictures["formats"])
        if pictures["turned by EXIF"]:
            yield "turned by EXIF", _counts(pictures["turned by EXIF"])
    objects = one.get("objects") or {}
    if "boxes per image" in objects:
        yield "boxes per image", _range(objects["boxes per image"])
    if "box area" in objects:
        yield "box area", _range(objects["box area"])
        yield "small, medium, large", ", ".join(map(str, objects["small, medium, large"]))
    for name in ("lengths", "words", "seconds"):
        if one.get(name):
            yield name, _range(one[name])
    for name in ("channels", "sample rates"):
        if one.get(name):
            yield name, _counts(one[name])
    values = one.get("values") or []
    for place, value in enumerate(values[:8]):
        if value:
            yield "value" if len(values) == 1 else f"value {place}", _range(value)


def _range(figures: Mapping[str, float]) -> str:
    return " .. ".join(f"{figures[name]:.4g}" for name in ("min", "median", "max"))


def _counts(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {count}" for name, count in list(counts.items())[:4]]
    return ", ".join(shown) + (", …" if len(counts) > 4 else "")


def _classes(splits: Sequence[Mapping[str, Any]]) -> str:
    """A row per class, with samples (and boxes) of each split."""
    head = ["class"]
    names: dict[int, str] = {}
    cells: list[dict[int, str]] = []
    for one in splits:
        for word in ("samples", "boxes"):
            column = {
                row["number"]: str(row[word]) for row in one.get("classes", ()) if word in row
            }
            if column:
                head.append(f"{one['split']} {word}")
                cells.append(column)
        for row in one.get("classes", ()):
            names.setdefault(row["number"], row["name"] or f"unknown {row['number']}")
    if not names:
        return ""
    numbers = sorted(names)
    rows = [head]
    for number in numbers[:_MOST_CLASSES]:
        rows.append([names[number], *[column.get(number, "0") for column in cells]])
    text = table(rows)
    if len(numbers) > _MOST_CLASSES:
        text += f"\n… and {len(numbers) - _MOST_CLASSES} more classes (--json has all)"
    return text
