"""The same input twice: in one split a duplicate, in two a leak, under two labels a conflict.

Equal content is found by its digest. Pictures that are copies in another size, compression or
crop are found by signature and then compared pixel by pixel; a work limit bounds the comparisons,
nearest first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvtrainer.data.doctor.facts import NO_CLASS, Facts
from cvtrainer.data.doctor.finding import Finding, finding
from cvtrainer.data.survey import look
from cvtrainer.data.survey.likeness import Grey, distances, reduced, same_picture

NEAR_BITS = 14
_PER_SAMPLE = 4
_LEAST_TRIALS = 2000
_ALL_PAIRS = 10_000
_SHORT_BANDS = 60_000
_MANY_PARTNERS = 64


class Place(NamedTuple):
    """A sample: the number of its split, and its row there."""

    split: int
    row: int


def check_duplicates(parts: Sequence[Facts]) -> Iterator[Finding]:
    """Equal inputs, then pictures that are alike."""
    places, digests = _all_digests(parts)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    copies: set[Place] = set()
    for start, stop in _runs(new):
        same = sorted(Place(*places[k].tolist()) for k in order[start:stop])
        copies.update(same[1:])
        yield from _equal(parts, same)
    yield from _near(parts, copies)


def _all_digests(parts: Sequence[Facts]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    places, digests = [], []
    for number, part in enumerate(parts):
        rows = np.flatnonzero(part.digest.any(axis=1))
        places.append(np.stack([np.full(len(rows), number), rows], axis=1))
        digests.append(part.digest[rows])
    return np.concatenate(places).astype(np.int64), np.concatenate(digests)


def _runs(new: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Stretches of more than one equal digest."""
    starts = np.flatnonzero(new)
    stops = np.append(starts[1:], len(new))
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if stop - start > 1:
            yield start, stop


def _equal(parts: Sequence[Facts], same: Sequence[Place]) -> Iterator[Finding]:
    first = same[0]
    for place in same[1:]:
        other = next((one for one in same if one.split == place.split and one < place), first)
        leaks = any(one.split != place.split for one in same if one < place)
        partner = next(one for one in same if one.split != place.split) if leaks else other
        yield _pair(parts, "leak" if leaks else "duplicate", place, partner, "equals")
        conflict = next((one for one in same if one < place and _conflict(parts, one, place)), None)
        if conflict is not None:
            yield _conflicting(parts, place, conflict)


def _pair(parts: Sequence[Facts], check: str, place: Place, partner: Place, verb: str) -> Finding:
    own, other = parts[place.split], parts[partner.split]
    # Of two splits the training one gives up its copy, so that figures stay comparable.
    from_own = own.split == "train" or other.split != "train"
    loser, row = (own, place.row) if from_own else (other, partner.row)
    return finding(
        check,
        own.split,
        f"{verb} {other.name(partner.row)} ({other.split} {partner.row})",
        row=place.row,
        file=own.name(place.row),
        details={
            "action": "remove",
            "other_split": other.split,
            "other_row": partner.row,
            "other_file": other.name(partner.row),
            "remove_split": loser.split,
            "remove_row": row,
            "remove_file": loser.name(row),
        },
    )


def _conflict(parts: Sequence[Facts], one: Place, other: Place) -> bool:
    a, b = parts[one.split].label[one.row], parts[other.split].label[other.row]
    return bool(a != b and NO_CLASS not in (a, b))


def _conflicting(parts: Sequence[Facts], place: Place, partner: Place) -> Finding:
    own, other = parts[place.split], parts[partner.split]
    mine, theirs = _label_text(own, place.row), _label_text(other, partner.row)
    return finding(
        "label-conflict",
        own.split,
        f"labelled {mine}, but {other.name(partner.row)} ({other.split} {partner.row}) shows "
        f"the same and is labelled {theirs}",
        row=place.row,
        file=own.name(place.row),
        details={
            "action": "relabel",
            "other_split": other.split,
            "other_row": partner.row,
            "labels": [mine, theirs],
        },
    )


def _label_text(part: Facts, row: int) -> str:
    number = int(part.class_id[row])
    if 0 <= number < len(part.subject.classes):
        return part.subject.classes[number]
    if number != NO_CLASS:
        return str(number)
    value = float(part.value[row])
    return f"{value:g}" if np.isfinite(value) else "otherwise"


class _Candidate(NamedTuple):
    bits: int
    part: int
    whole: int
    window: int


def _near(parts: Sequence[Facts], copies: set[Place]) -> Iterator[Finding]:
    places = [
        Place(number, row)
        for number, part in enumerate(parts)
        for row in np.flatnonzero(part.signed).tolist()
        if Place(number, row) not in copies
    ]
    if len(places) < 2:
        return
    signatures = np.stack([parts[p.split].signatures[p.row] for p in places])
    candidates = sorted(_candidates(signatures))
    trials = max(_LEAST_TRIALS, _PER_SAMPLE * len(places))

    @lru_cache(maxsize=512)
    def grey(number: int) -> Grey | None:
        place = places[number]
        x = look(parts[place.split].subject, place.row, deep=True).x
        return None if x is None else reduced(x)

    found: dict[int, int] = {}
    for one in candidates[:trials]:
        later, earlier = max(one.part, one.whole), min(one.part, one.whole)
        if later in found:
            continue
        part, whole = grey(one.part), grey(one.whole)
        if part is not None and whole is not None and same_picture(part, whole, one.window):
            found[later] = earlier
    for later, earlier in sorted(found.items()):
        place, partner = places[later], places[earlier]
        check = "near-duplicate" if place.split == partner.split else "near-leak"
        yield _pair(parts, check, place, partner, "shows the same picture as")
        if _conflict(parts, partner, place):
            yield _conflicting(parts, place, partner)


def _candidates(signatures: NDArray[np.uint64]) -> Iterator[_Candidate]:
    """Pairs of which one's whole is near a window of the other."""
    count = len(signatures)
    if count <= _ALL_PAIRS:
        everyone = np.arange(count)
        for part in range(count):
            near = distances(signatures[part, 0], signatures)
            yield from _nearest(part, everyone, near)
        return
    bits: type[np.unsignedinteger[Any]] = np.uint8 if count <= _SHORT_BANDS else np.uint16
    used = signatures if count <= _SHORT_BANDS else signatures[:, :1]
    for part, others in _sharing_a_band(used, bits):
        yield from _nearest(part, others, distances(signatures[part, 0], signatures[others]))


def _nearest(part: int, others: NDArray[np.int64], near: NDArray[np.uint8]) -> Iterator[_Candidate]:
    window = near.argmin(axis=1)
    bits = near[np.arange(len(others)), window]
    hits = np.flatnonzero((bits <= NEAR_BITS) & (others != part))
    hits = hits[np.argsort(bits[hits], kind="stable")][:_MANY_PARTNERS]
    for k in hits.tolist():
        yield _Candidate(int(bits[k]), part, int(others[k]), int(window[k]))


def _sharing_a_band(
    signatures: NDArray[np.uint64], band: type[np.unsignedinteger[Any]]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """For large sets: only those with 8 (or 16) neighbouring bits in common, not all pairs."""
    count, windows = signatures.shape
    bands = signatures.reshape(-1, 1).view(band)
    orders = [np.argsort(column, kind="stable") for column in bands.T]
    ordered = [column[order] for column, order in zip(bands.T, orders, strict=True)]
    for part in range(count):
        own = bands[part * windows]
        near = []
        for place, (order, values) in enumerate(zip(orders, ordered, strict=True)):
            low = np.searchsorted(values, own[place], "left")
            high = np.searchsorted(values, own[place], "right")
            near.append(order[low:high])
        yield part, np.unique(np.concatenate(near) // windows)
