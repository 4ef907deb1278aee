"""What stays of a sample after one look: a hundred bytes or two in columns, never its pixels.

Checks of the whole set (duplicates, outliers, classes, groups) read these columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvtrainer.data.doctor.inputs import is_constant
from cvtrainer.data.survey import Sight, Subject
from cvtrainer.data.survey.likeness import SMALLEST, WINDOWS, signature

NO_CLASS = -1
KINDS = ("unknown", "image", "sound", "series", "vector", "text")


class Fact(NamedTuple):
    """One sample in short."""

    kind: int
    digest: bytes
    label: int
    class_id: int
    value: float
    height: int
    width: int
    length: int
    rate: int
    grey: bool
    boxes: int
    points: int
    signature: NDArray[np.uint64] | None


class Facts:
    """The columns of one split. `signatures` are kept for pictures alone, `signed` says which."""

    def __init__(self, subject: Subject) -> None:
        count = len(subject)
        self.subject = subject
        self.split = subject.split
        self.kind = np.zeros(count, dtype=np.uint8)
        self.digest = np.zeros((count, 2), dtype=np.uint64)
        self.label = np.full(count, NO_CLASS, dtype=np.int64)
        self.class_id = np.full(count, NO_CLASS, dtype=np.int64)
        self.value = np.full(count, np.nan)
        self.height = np.zeros(count, dtype=np.int32)
        self.width = np.zeros(count, dtype=np.int32)
        self.length = np.zeros(count, dtype=np.int64)
        self.rate = np.zeros(count, dtype=np.int32)
        self.grey = np.zeros(count, dtype=bool)
        self.boxes = np.full(count, -1, dtype=np.int32)
        self.points = np.full(count, -1, dtype=np.int32)
        self.signed = np.zeros(count, dtype=bool)
        self._signatures: NDArray[np.uint64] | None = None
        self.class_counts = np.zeros(len(subject.classes), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def signatures(self) -> NDArray[np.uint64]:
        """The signature of each sample, zero where there is none."""
        if self._signatures is None:
            return np.zeros((len(self), len(WINDOWS)), dtype=np.uint64)
        return self._signatures

    def put(self, row: int, fact: Fact, classes: Sequence[int]) -> None:
        """Keep what a look at that row gave."""
        self.kind[row] = fact.kind
        if fact.digest:
            self.digest[row] = np.frombuffer(fact.digest, dtype=np.uint64)
        self.label[row], self.class_id[row], self.value[row] = fact.label, fact.class_id, fact.value
        self.height[row], self.width[row] = fact.height, fact.width
        self.length[row], self.rate[row], self.grey[row] = fact.length, fact.rate, fact.grey
        self.boxes[row], self.points[row] = fact.boxes, fact.points
        if fact.signature is not None:
            if self._signatures is None:
                self._signatures = np.zeros((len(self), len(WINDOWS)), dtype=np.uint64)
            self._signatures[row] = fact.signature
            self.signed[row] = True
        for number in classes:
            if 0 <= number < len(self.class_counts):
                self.class_counts[number] += 1

    def name(self, row: int) -> str:
        """The file of that row."""
        return self.subject.file(row)


def fact_of(sight: Sight, *, signed: bool) -> tuple[Fact, list[int]]:
    """What to keep of a look, and the classes that the sample shows."""
    x = sight.x
    height, width = sight.size or (0, 0)
    plain = is_constant(x) if sight.kind in ("image", "sound") else False
    is_picture = sight.kind == "image" and isinstance(x, np.ndarray) and x.size > 0
    large = is_picture and min(x.shape[:2]) >= SMALLEST
    wanted = signed and large and not plain and x.dtype == np.uint8
    value = sight.target.get("value")
    return (
        Fact(
            kind=KINDS.index(sight.kind),
            digest=b"" if plain or x is None else _digest(x),
            label=_label(sight.target),
            class_id=_single(sight.target.get("class_id")),
            value=_number(value),
            height=height,
            width=width,
            length=_length(sight),
            rate=sight.rate or 0,
            grey=is_picture and _is_grey(x),
            boxes=_rows(sight.boxes, 4),
            points=_rows(sight.target.get("keypoints"), 3),
            signature=signature(x) if wanted else None,
        ),
        _classes(sight.target),
    )


def _digest(x: Any) -> bytes:
    hashed = blake2b(digest_size=16)
    if isinstance(x, str):
        hashed.update(" ".join(x.split()).casefold().encode("utf-8", "surrogatepass"))
    elif isinstance(x, np.ndarray) and x.dtype != object:
        hashed.update(f"{x.shape}{x.dtype.kind}".encode())
        hashed.update(np.ascontiguousarray(x).data)
    else:
        return b""
    return hashed.digest()


def _label(target: dict[str, Any]) -> int:
    """A number that differs where the label of the sample differs."""
    for name in ("class_id", "class_ids", "value"):
        value = target.get(name)
        if value is None:
            continue
        try:
            plain = np.asarray(value).ravel().tolist()
        except ValueError:
            return NO_CLASS
        if name == "class_id" and len(plain) == 1 and isinstance(plain[0], int):
            return plain[0]
        text = repr(sorted(plain) if name == "class_ids" else plain)
        return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "little")
    return NO_CLASS


def _classes(target: dict[str, Any]) -> list[int]:
    for name in ("class_id", "class_ids", "box_labels"):
        value = target.get(name)
        if value is not None:
            try:
                found: list[int] = np.atleast_1d(np.asarray(value, dtype=np.int64)).tolist()
            except (TypeError, ValueError):
                return []
            return found
    mask = target.get("mask")
    if isinstance(mask, np.ndarray) and mask.dtype == np.uint8:
        present: list[int] = np.flatnonzero(np.bincount(mask.ravel())).tolist()
        return present
    return []


def _single(value: Any) -> int:
    try:
        return NO_CLASS if value is None else int(value)
    except (TypeError, ValueError):
        return NO_CLASS


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None or np.ndim(value) else float(value)
    except (TypeError, ValueError):
        return float("nan")


def _length(sight: Sight) -> int:
    if isinstance(sight.x, str):
        return len(sight.x)
    if not isinstance(sight.x, np.ndarray) or not sight.x.ndim:
        return 0
    return int(sight.x.shape[-1] if sight.kind == "sound" else sight.x.shape[0])


def _rows(value: Any, columns: int) -> int:
    if value is None:
        return -1
    return int(np.size(value)) // columns


def _is_grey(x: Any) -> bool:
    if x.ndim == 2 or x.shape[2] == 1:
        return True
    step = max(1, min(x.shape[:2]) // 64)
    seen = x[::step, ::step, :3].astype(np.int16)
    spread = seen.max(axis=2) - seen.min(axis=2)
    return bool(spread.max() <= 8)
