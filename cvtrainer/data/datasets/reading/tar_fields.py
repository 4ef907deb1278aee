"""From the members of a tar sample to its fields: which member, and which value in it.

A source is a member's ending (`cls`), several of which the first present is taken (`jpg;png`), or
a place in a JSON member (`json:label`, `json:annotation.boxes`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.tar_members import Part
from cvtrainer.data.datasets.tasks import FIELDS_OF_TASK
from cvtrainer.data.decode import IMAGE_EXTENSIONS

Read = Callable[[Part], bytes]

IMAGES = ";".join(ending[1:] for ending in IMAGE_EXTENSIONS)
SOUNDS = "wav"
TEXTS = "txt"
_DEFAULTS: Mapping[str, str] = {
    "class_id": "cls;json:label;json:class;json:class_id;json:category",
    "class_ids": "json:labels;json:classes;json:class_ids;cls",
    "value": "json:value;json:target;value;txt",
    "boxes": "json:boxes;json:bboxes",
    "box_labels": "json:box_labels;json:labels;json:classes",
    "keypoints": "json:keypoints",
    "mask": "mask.png;seg.png;mask;seg",
}


class FieldSources:
    """Where each field of a task comes from; what a sample lacks is None."""

    def __init__(self, task: str, given: Mapping[str, str] | None, where: str) -> None:
        wanted = FIELDS_OF_TASK.get(task)
        if wanted is None:
            raise UserError(
                f"no task {task!r}", where=where, todo=f"Use {', '.join(FIELDS_OF_TASK)}."
            )
        given = dict(given or {})
        unknown = [name for name in given if name != "x" and name not in wanted]
        if unknown:
            raise UserError(
                f"`fields` has {unknown[0]}, which task {task} does not use",
                where=where,
                todo=f"It uses {', '.join(('x', *wanted))}.",
            )
        lacking = [name for name in wanted if name not in (*_DEFAULTS, *given)]
        if lacking:
            raise UserError(f"tar archives cannot serve task {task}", where=where)
        self._sources = {name: given.get(name, _DEFAULTS.get(name, "")) for name in wanted}
        self._inputs = [given["x"]] if "x" in given else [IMAGES, SOUNDS, TEXTS]
        self.values = tuple(name for name in wanted if name != "mask")
        self.masked = "mask" in wanted

    def input(self, parts: Mapping[str, Part]) -> Part | None:
        """The member that goes into the network; the kind of the first one is that of all."""
        for source in self._inputs:
            found = _member(source, parts)
            if found is not None:
                self._inputs = [source]
                return found
        return None

    def mask(self, parts: Mapping[str, Part]) -> Part | None:
        """The member with the mask."""
        return _member(self._sources["mask"], parts)

    def value(self, name: str, parts: Mapping[str, Part], read: Read) -> Any:
        """The value of a field as written: a number, a text or a list."""
        content: dict[str, Any] = {}
        for source in self._sources[name].split(";"):
            ending, colon, place = source.partition(":")
            if ending not in parts:
                continue
            data = read(parts[ending])
            if not colon:
                return _plain(data)
            try:
                found: Any = content.setdefault(ending, json.loads(data))
            except ValueError:
                return None
            for key in place.split("."):
                found = found.get(key) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return None


def _member(source: str, parts: Mapping[str, Part]) -> Part | None:
    return next((parts[ending] for ending in source.split(";") if ending in parts), None)


def _plain(data: bytes) -> Any:
    """A number where the text is one, a list where it has several words, else the text."""
    text = data.decode("utf-8", errors="replace").strip()
    words = text.split()
    try:
        numbers = [
            float(word) if "." in word or "e" in word.lower() else int(word) for word in words
        ]
    except ValueError:
        return text or None
    return numbers[0] if len(numbers) == 1 else numbers or None
