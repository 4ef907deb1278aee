"""Cuts samples into parts by hashes: one by one, by class with exact counts, or by whole groups."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cvtrainer.core.seeds import mix

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Shares = NDArray[np.float64]

_BLOCK = 1 << 18
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def hashes_of(dataset: Any, key: int) -> Hashes:
    """A hash per sample: of its text, or its path below the root, or its number without either.

    Repeated texts and paths share a hash and so a part, unless most are repeated: then the path is
    that of a container, and its samples are told apart by their order.
    """
    index: Any = getattr(dataset, "index", None)
    names = _identifying(index)
    if not names:
        numbers = np.arange(len(dataset), dtype=np.uint64)
        return _mixed(numbers * _FACTOR + np.uint64(key))
    found = np.full(len(dataset), np.uint64(key))
    for name in names:
        found = _mixed(found ^ _text_hashes(index.column(name)))
    order = np.argsort(found, kind="stable")
    starts = np.flatnonzero(np.diff(found[order], prepend=~found[order[:1]]))
    if len(starts) * 2 > len(found):
        return found
    repeats = np.empty(len(found), dtype=np.uint64)
    repeats[order] = np.arange(len(found)) - np.repeat(starts, np.diff([*starts, len(found)]))
    return _mixed(found ^ (repeats * _FACTOR))


def _identifying(index: Any) -> tuple[str, ...]:
    """The columns that say which sample it is, wherever it stands."""
    if index is None:
        return ()
    if "text" in index:
        return ("text",)
    return tuple(name for name in ("path", "member") if name in index)


def by_hash(hashes: Hashes, shares: Shares) -> Numbers:
    """Each sample for itself: its part follows from its own hash alone."""
    places = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    edges = np.cumsum(shares)[:-1]
    return np.searchsorted(edges, places, side="right").astype(np.int64)


def by_strata(hashes: Hashes, labels: Numbers, shares: Shares) -> Numbers:
    """Counts per class and part are the exact share, rounded up or down; hashes say who."""
    order = np.lexsort((np.arange(len(hashes)), hashes, labels))
    starts = np.unique(labels[order], return_index=True)[1]
    ends = np.append(starts[1:], len(order))
    part_of = np.empty(len(order), dtype=np.int64)
    owed = np.zeros(len(shares))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        counts = _apportioned(end - start, shares, owed)
        owed += (end - start) * shares - counts
        part_of[order[start:end]] = np.repeat(np.arange(len(shares)), counts)
    return part_of


def by_groups(groups: Sequence[Any], labels: Numbers | None, shares: Shares, key: int) -> Numbers:
    """Groups stay whole; a sample without a group is one by itself.

    Without labels a group's part follows from its name alone. With labels, groups are dealt, large
    ones first, to the part that then is nearest to its share of every class.
    """
    names = [f"{number}\0" if name is None else str(name) for number, name in enumerate(groups)]
    unique, members = np.unique(np.asarray(names, dtype=object), return_inverse=True)
    hashes = np.asarray([_text_hash(name, key) for name in unique], dtype=np.uint64)
    if labels is None:
        return by_hash(hashes, shares)[members]
    classes, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(unique), len(classes)))
    np.add.at(counts, (members, codes), 1)
    goal = shares[:, None] * counts.sum(axis=0)
    weights = 1 / np.maximum(counts.sum(axis=0), 1)
    held = np.zeros_like(goal)
    part_of = np.empty(len(unique), dtype=np.int64)
    for group in np.lexsort((hashes, -counts.sum(axis=1))).tolist():
        own = counts[group]
        before = ((held - goal) ** 2 * weights).sum(axis=1)
        after = ((held + own - goal) ** 2 * weights).sum(axis=1)
        part = int(np.argmin((after - before) / shares))
        held[part] += own
        part_of[group] = part
    return part_of[members]


def _apportioned(size: int, shares: Shares, owed: Shares) -> Numbers:
    """`size` dealt to the parts: each gets its share rounded down, what is left the most owed."""
    exact = size * shares
    counts = np.floor(exact + 1e-9).astype(np.int64)
    left = size - int(counts.sum())
    open_parts = np.flatnonzero(exact - counts > 1e-9)
    claims = (exact - counts + owed)[open_parts]
    counts[open_parts[np.argsort(-claims, kind="stable")][:left]] += 1
    return counts


def _text_hashes(column: pa.ChunkedArray) -> Hashes:
    """A hash per text, over blocks of rows: polynomial in the bytes, then mixed."""
    found = np.empty(len(column), dtype=np.uint64)
    begin = 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), _BLOCK):
            block = pc.fill_null(chunk.slice(start, _BLOCK).cast(pa.large_binary()), b"")
            found[begin : begin + len(block)] = _block_hashes(block)
            begin += len(block)
    return found


def _block_hashes(block: pa.Array) -> Hashes:
    block = pa.concat_arrays([block])
    _, offset_buffer, data = block.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[block.offset :][: len(block) + 1]
    lengths = np.diff(offsets)
    size = int(lengths.max(initial=0))
    powers = np.full(size + 1, _FACTOR, dtype=np.uint64)
    powers[0] = 1
    powers = np.cumprod(powers, dtype=np.uint64)
    text = np.frombuffer(data, dtype=np.uint8)[int(offsets[0]) : int(offsets[-1])]
    places = np.arange(len(text)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    terms = (text.astype(np.uint64) + np.uint64(1)) * powers[places]
    sums = np.zeros(len(block), dtype=np.uint64)
    filled = np.flatnonzero(lengths)
    if len(filled):
        sums[filled] = np.add.reduceat(terms, (offsets[:-1] - offsets[0])[filled])
    return _mixed(sums)


def _mixed(state: Hashes) -> Hashes:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _text_hash(text: str, key: int) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return mix(key, int.from_bytes(digest, "little"))
