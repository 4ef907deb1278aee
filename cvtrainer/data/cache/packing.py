"""Filling a packed cache ahead of training, and looking at what one holds for a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.cache.identity import Form, content_key, path_number, place_key
from cvtrainer.data.cache.packed import PackedCache
from cvtrainer.data.cache.store import name_key
from cvtrainer.data.cache.writing import pixel_bytes
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample

_AT_ONCE = 32
"""So many samples are handed to a thread at a time."""

Progress = Callable[[int, int], None]


@dataclass
class Packed:
    """What packing did: values that are in the shards, and files that are not, with the reason."""

    samples: int = 0
    values: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    bytes_before: int = 0
    bytes_after: int = 0


@dataclass
class Checked:
    """What the shards hold for a data set.

    `stale` are files that have changed since; `missing` others that would be decoded. A damaged
    entry is harmless where a sound one has the same content.
    """

    entries: int = 0
    damaged: int = 0
    present: int = 0
    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    size: int = 0
    unused: int = 0
    """Entries that nothing in this data set leads to."""

    @property
    def complete(self) -> bool:
        """Whether an epoch would decode nothing."""
        return not (self.missing or self.stale)


def pack(
    dataset: Any, cache: PackedCache, *, threads: int, progress: Progress | None = None
) -> Packed:
    """Bring everything that has pixels into the cache; what is there already is not decoded."""
    done = Packed(bytes_before=pixel_bytes(cache.folder))
    cache.waits = True
    count = len(dataset)

    def some(numbers: range) -> tuple[int, int, dict[str, str]]:
        values, failed = 0, {}
        for number in numbers:
            try:
                for encoded, form in pixel_values(dataset, number, cache):
                    cache.get(encoded, form)
                    values += 1
            except (BadSample, OSError) as error:
                where = error.where if isinstance(error, BadSample) else error.filename
                what = error.what if isinstance(error, BadSample) else error.strerror
                failed[str(where or f"sample {number}")] = str(what or error)
        return len(numbers), values, failed

    if not getattr(dataset, "thread_safe", False):
        threads = 1
    pieces = iter(range(at, min(at + _AT_ONCE, count)) for at in range(0, count, _AT_ONCE))
    with ThreadPoolExecutor(threads) as pool:
        while ahead := list(islice(pieces, threads * 4)):
            for samples, values, failed in pool.map(some, ahead):
                done.samples += samples
                done.values += values
                done.failed.update(failed)
                if progress is not None:
                    progress(done.samples, count)
    cache.flush()
    done.bytes_after = pixel_bytes(cache.folder)
    return done


def check(dataset: Any, cache: PackedCache, *, progress: Progress | None = None) -> Checked:
    """Read every entry, and look for the entry of everything in the data set."""
    store = cache.store
    done = Checked(size=pixel_bytes(cache.folder))
    done.entries, done.damaged = store.faulty()
    entries = store.entries.all()
    known = {key for key, _ in entries}
    sound = {key for key, record in entries if not store.is_damaged(record)}
    paths = {record.words[2] for _, record in store.names.all()}
    used = set()
    count = len(dataset)
    for number in range(count):
        for encoded, form in _readable(dataset, number, cache):
            key = _key(encoded, form, cache)
            if key in sound:
                done.present += 1
                used.add(key)
            elif key not in known and path_number(encoded, form) in paths:
                done.stale.append(encoded.name)
            else:
                done.missing.append(encoded.name)
        if progress is not None:
            progress(number + 1, count)
    done.unused = len(sound - used)
    return done


def pixel_values(dataset: Any, number: int, cache: PackedCache) -> Iterator[tuple[Encoded, Form]]:
    """What of that sample has pixels in a file, and in which form they are kept."""
    record = getattr(dataset, "record", None) or dataset.__getitem__
    sample = record(number)
    if not isinstance(sample, Mapping):
        return
    target = sample.get("target")
    holders = [sample, target] if isinstance(target, Mapping) else [sample]
    whole = any(name in holder for holder in holders for name in ("mask", "masks"))
    for holder in holders:
        for value in holder.values():
            if isinstance(value, Encoded) and value.kind != "sound":
                yield value, cache.form_of(value.kind, whole=whole)


def _readable(dataset: Any, number: int, cache: PackedCache) -> list[tuple[Encoded, Form]]:
    """The same; nothing where the sample has no usable record, which packing leaves out too."""
    try:
        return list(pixel_values(dataset, number, cache))
    except BadSample:
        return []


def require_values(dataset: Any, cache: PackedCache, where: str) -> None:
    """Refuse a data set that has nothing to decode."""
    if not any(_readable(dataset, number, cache) for number in range(min(len(dataset), _AT_ONCE))):
        raise UserError(
            "its samples have no pictures in files, so there is nothing to pack",
            where=where,
            todo="Leave the cache out; arrays are read as they are.",
        )


def _key(encoded: Encoded, form: Form, cache: PackedCache) -> bytes | None:
    """The key of that value; its file is read only where its state is not known."""
    try:
        stamp = encoded.stamp()
        if stamp is not None:
            found = cache.store.names.find(place_key(encoded, stamp, form))
            if found:
                return name_key(found[0])
        return content_key(encoded.read(), form)
    except OSError:
        return None
