"""One pass over a split by threads, headers only, into a mapping of plain figures."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from cvtrainer.data.statistics.spread import Spread
from cvtrainer.data.survey import Sight, Subject, in_order, look
from cvtrainer.data.survey.threads import thread_count

SMALL, LARGE = 32**2, 96**2
"""Areas in pixels below and above which COCO calls an object small or large."""


def statistics_of(
    subject: Subject,
    *,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Everything that can be counted without decoding pictures."""
    tally = _Tally(subject)
    usable = thread_count(threads) if subject.thread_safe else 1
    count = len(subject)
    with warnings.catch_warnings(), subject.as_filed():
        warnings.simplefilter("ignore")
        sights = in_order(lambda row: look(subject, row, deep=False), count, threads=usable)
        for row, sight in enumerate(sights):
            tally.add(sight)
            if progress is not None:
                progress(subject.split, row + 1, count)
    return tally.figures()


class _Tally:
    """Counts while samples pass."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._kinds: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._modes: Counter[str] = Counter()
        self._formats: Counter[str] = Counter()
        self._turned: Counter[int] = Counter()
        self._rates: Counter[int] = Counter()
        self._channels: Counter[int] = Counter()
        self._samples_of: Counter[int] = Counter()
        self._boxes_of: Counter[int] = Counter()
        self._areas, self._shares = Spread(), Spread()
        self._boxes_each, self._points_each = Spread(), Spread()
        self._lengths, self._words = Spread(), Spread()
        self._seconds = Spread(double=True)
        self._values: dict[int, Spread] = {}

    def add(self, sight: Sight) -> None:
        """One more sample."""
        self._counts["samples"] += 1
        self._counts["bytes"] += sight.bytes
        self._kinds[sight.kind] += 1
        if sight.troubles:
            self._counts["unusable"] += 1
        self._input(sight)
        self._labels(sight)
        self._objects(sight)
        value = sight.target.get("value")
        if value is not None:
            for place, number in enumerate(np.ravel(value).tolist()):
                spread = self._values.setdefault(place, Spread(double=True))
                spread.add(float(number) if isinstance(number, int | float) else float("nan"))

    def _input(self, sight: Sight) -> None:
        size = sight.size
        if size is not None:
            self._sizes[size] += 1
        if sight.header is not None:
            self._modes[sight.header.mode] += 1
            self._formats[sight.header.format] += 1
            if sight.header.orientation != 1:
                self._turned[sight.header.orientation] += 1
        elif sight.kind == "image" and isinstance(sight.x, np.ndarray):
            channels = 1 if sight.x.ndim == 2 else int(sight.x.shape[2])
            self._modes[f"{channels} x {sight.x.dtype}"] += 1
        if sight.kind == "text":
            self._lengths.add(len(sight.x))
            self._words.add(len(sight.x.split()))
        elif sight.kind == "sound" and isinstance(sight.x, np.ndarray):
            self._lengths.add(sight.x.shape[-1])
            self._channels[1 if sight.x.ndim == 1 else sight.x.shape[0]] += 1
            if sight.rate:
                self._rates[sight.rate] += 1
                self._seconds.add(sight.x.shape[-1] / sight.rate)
        elif sight.kind in ("series", "vector") and isinstance(sight.x, np.ndarray):
            self._lengths.add(len(sight.x))
            self._channels[1 if sight.x.ndim == 1 else int(sight.x.shape[1])] += 1
            if sight.x.dtype.kind == "f":
                self._counts["missing values"] += int(np.count_nonzero(~np.isfinite(sight.x)))

    def _labels(self, sight: Sight) -> None:
        found: set[int] = set()
        for name in ("class_id", "class_ids"):
            value = sight.target.get(name)
            if value is not None:
                found.update(np.atleast_1d(value).astype(np.int64).tolist())
        if sight.box_labels is not None:
            numbers = np.atleast_1d(sight.box_labels).astype(np.int64).tolist()
            self._boxes_of.update(numbers)
            found.update(numbers)
        self._samples_of.update(found)

    def _objects(self, sight: Sight) -> None:
        self._counts["masks"] += sight.masks
        if sight.boxes is not None:
            boxes = np.asarray(sight.boxes, dtype=np.float64).reshape(-1, 4)
            self._counts["boxes"] += len(boxes)
            self._boxes_each.add(len(boxes))
            if not len(boxes):
                self._counts["without boxes"] += 1
            areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
            self._areas.extend(areas)
            if sight.size is not None:
                self._shares.extend(areas / max(sight.size[0] * sight.size[1], 1))
        points = sight.target.get("keypoints")
        if points is not None:
            places = np.asarray(points, dtype=np.float64).reshape(-1, 3)
            self._points_each.add(len(places))
            self._counts["keypoints"] += len(places)
            self._counts["visible keypoints"] += int((places[:, 2] > 0).sum())

    def figures(self) -> dict[str, Any]:
        """Everything counted; what does not occur is left out."""
        found: dict[str, Any] = {
            "split": self._subject.split,
            "task": self._subject.task,
            "kind": self._kinds.most_common(1)[0][0] if self._kinds else "unknown",
            "samples": self._counts["samples"],
            "images": self._kinds["image"],
            "unusable": self._counts["unusable"],
            "bytes": self._counts["bytes"],
        }
        for name in ("boxes", "without boxes", "masks", "keypoints", "visible keypoints"):
            if self._counts[name] or (name == "boxes" and len(self._boxes_each)):
                found[name] = self._counts[name]
        found["missing values"] = self._counts["missing values"]
        found["classes"] = self._classes()
        found["pictures"] = self._pictures()
        found["objects"] = self._object_figures()
        found["lengths"] = self._lengths.figures()
        found["words"] = self._words.figures()
        found["seconds"] = self._seconds.figures()
        found["channels"] = _counted(self._channels)
        found["sample rates"] = _counted(self._rates)
        found["values"] = [spread.figures() for _, spread in sorted(self._values.items())]
        kept = ("split", "task", "kind", "samples", "images", "unusable", "bytes")
        return {name: value for name, value in found.items() if value or name in kept}

    def _classes(self) -> list[dict[str, Any]]:
        names = self._subject.classes
        numbers = sorted({*range(len(names)), *self._samples_of, *self._boxes_of})
        if not self._samples_of and not names:
            return []
        masks_only = not self._samples_of and bool(self._counts["masks"])
        rows = []
        for number in numbers:
            known = 0 <= number < len(names)
            row: dict[str, Any] = {"number": number, "name": names[number] if known else None}
            if not masks_only:
                row["samples"] = self._samples_of[number]
            if len(self._boxes_each):
                row["boxes"] = self._boxes_of[number]
            rows.append(row)
        return rows

    def _pictures(self) -> dict[str, Any]:
        if not self._sizes:
            return {}
        sizes = np.array(list(self._sizes), dtype=np.int64)
        times = np.array(list(self._sizes.values()))
        heights, widths = (np.repeat(sizes[:, k], times) for k in (0, 1))
        return {
            "distinct sizes": len(self._sizes),
            "most common": [
                {"width": size[1], "height": size[0], "images": count}
                for size, count in self._sizes.most_common(5)
            ],
            "width": _short(widths),
            "height": _short(heights),
            "aspect": _short(widths / heights),
            "modes": _counted(self._modes),
            "formats": _counted(self._formats),
            "turned by EXIF": _counted(self._turned),
        }

    def _object_figures(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if len(self._boxes_each):
            found["boxes per image"] = self._boxes_each.figures()
        if len(self._areas):
            areas = self._areas.figures()
            assert areas is not None
            found["box area"] = areas
            found["share of the picture"] = self._shares.figures()
            found["small, medium, large"] = self._areas.between(SMALL, LARGE)
        if len(self._points_each):
            found["keypoints per image"] = self._points_each.figures()
        return found


def _counted(counter: Counter[Any]) -> dict[str, int]:
    return {str(key): count for key, count in counter.most_common()}


def _short(values: Any) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }
