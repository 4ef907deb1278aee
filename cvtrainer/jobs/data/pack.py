"""`cvtrainer data pack`: decode the pictures of splits into a packed cache, or check what is there.

A split of a config is packed into the cache that its `cache` describes, so that training finds
everything; a path, or a config with `--dir`, into the folder that is asked for.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.cache import PackedCache
from cvtrainer.data.cache.packing import Checked, Packed, check, pack, require_values
from cvtrainer.jobs.data.opened import Opened, Request, open_data

DEFAULT_DIR = Path(".cvtrainer-cache")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Place:
    """Where to pack to, as asked for on the command line; `dir` None leaves it to the config."""

    dir: Path | None = None
    shorter: int | None = None
    max_bytes: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What was done for a split, or found in its cache."""

    split: str
    folder: str
    seconds: float
    packed: Packed | None = None
    checked: Checked | None = None

    @property
    def complete(self) -> bool:
        """Whether an epoch would find everything that can be decoded."""
        return self.checked is None or self.checked.complete

    def as_plain(self) -> dict[str, Any]:
        """For JSON."""
        found = self.packed or self.checked
        assert found is not None
        plain = {"split": self.split, "folder": self.folder, "seconds": round(self.seconds, 3)}
        return {**plain, "complete": self.complete, **dataclasses.asdict(found)}


def pack_data(
    request: Request,
    place: Place,
    *,
    only_check: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Pack every split that has a packed cache, or check it; in their order."""
    opened = open_data(request).require_all()
    caches = _caches(opened, request, place)
    outcomes = []
    for subject in opened.subjects:
        cache = caches.get(subject.split)
        if cache is None:
            continue
        require_values(subject.dataset, cache, subject.split)
        show = _named(progress, subject.split)
        began = time.perf_counter()
        packed = checked = None
        if only_check:
            checked = check(subject.dataset, cache, progress=show)
        else:
            count = threads or len(os.sched_getaffinity(0))
            packed = pack(subject.dataset, cache, threads=count, progress=show)
        seconds = time.perf_counter() - began
        outcomes.append(Outcome(subject.split, str(cache.folder), seconds, packed, checked))
    return outcomes


def _caches(opened: Opened, request: Request, place: Place) -> dict[str, PackedCache]:
    assert opened.data is not None
    folder = place.dir
    if folder is None and request.config is None:
        folder = DEFAULT_DIR
    caches: dict[str, PackedCache] = {}
    for split, block in opened.blocks.items():
        if folder is not None:
            caches[split] = PackedCache(
                opened.data.decoding(block),
                folder,
                shorter=place.shorter,
                max_bytes=place.max_bytes,
            )
            continue
        source = opened.data.pixels(block)
        if isinstance(source, PackedCache):
            caches[split] = source
    if not caches:
        raise UserError(
            "no split has cache: packed",
            where=request.config,
            todo="Add it to the split, or give --dir FOLDER.",
        )
    if folder is None and (place.shorter or place.max_bytes):
        raise UserError(
            "--shorter and --max-bytes go with --dir",
            where=request.config,
            todo="The config's cache says its own.",
        )
    return caches


def _named(progress: Progress | None, split: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, count: progress(split, done, count)
