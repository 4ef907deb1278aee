"""Checks of what one sample feeds to the network: pixels, sounds, series, vectors, texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np

from cvtrainer.data.doctor.finding import WARNING, Finding
from cvtrainer.data.doctor.of_sample import of_sample
from cvtrainer.data.survey import Sight

_CLIPPED = 0.01
_FULL = 0.999
_RUN = 4
_MARKS_OF_DAMAGE = ("\ufffd", "\x00", "Ã©", "Ã¨", "Ã¼", "â€™", "â€œ")


def check_input(sight: Sight) -> Iterator[Finding]:
    """Everything wrong with the input of a sample."""
    x = sight.x
    if x is None:
        return
    if sight.kind == "image":
        yield from _picture(sight, x)
    elif sight.kind == "sound":
        yield from _sound(sight, x)
    elif sight.kind in ("series", "vector"):
        yield from _numbers(sight, x)
    elif sight.kind == "text":
        yield from _text(sight, x)


def is_constant(x: Any) -> bool:
    """Whether a picture, sound or series is one value all over (one colour, for pictures)."""
    if not isinstance(x, np.ndarray) or not x.size:
        return False
    if x.ndim == 3 and x.dtype == np.uint8:
        return bool((x == x[:1, :1]).all())
    return bool((x == x.flat[0]).all())


def _picture(sight: Sight, x: Any) -> Iterator[Finding]:
    if not x.size:
        yield of_sample(sight, "unreadable", "the picture has no pixels", action="remove")
    elif is_constant(x):
        colour = np.atleast_1d(x[0, 0]).tolist()
        yield of_sample(sight, "constant-image", f"every pixel is {colour}", action="remove")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        yield of_sample(sight, "not-finite", "pixels that are no numbers", action="remove")


def _sound(sight: Sight, x: Any) -> Iterator[Finding]:
    if not x.size:
        yield of_sample(sight, "sound-silent", "the sound has no samples", action="remove")
        return
    if not np.isfinite(x).all():
        yield of_sample(sight, "not-finite", "the sound holds values that are no numbers")
        return
    if is_constant(x):
        yield of_sample(
            sight, "sound-silent", f"every value is {float(x.flat[0]):g}", action="remove"
        )
        return
    share = _clipped_share(np.atleast_2d(x))
    if share >= _CLIPPED:
        yield of_sample(
            sight, "sound-clipped", f"{share:.1%} of the sound is cut off at full scale"
        )


def _clipped_share(channels: Any) -> float:
    """Share of values at full scale that stand in runs: single peaks are no clipping."""
    total = 0
    for channel in channels:
        full = np.abs(channel) >= _FULL
        edges = np.flatnonzero(np.diff(np.concatenate(([False], full, [False])).astype(np.int8)))
        runs = edges[1::2] - edges[::2]
        total += int(runs[runs >= _RUN].sum())
    return float(total / channels.size)


def _numbers(sight: Sight, x: Any) -> Iterator[Finding]:
    if x.dtype.kind != "f" and x.dtype.kind not in "iub":
        return
    if not x.size:
        yield of_sample(sight, "not-finite", "the input holds no values", action="remove")
        return
    wrong = int(np.count_nonzero(~np.isfinite(x))) if x.dtype.kind == "f" else 0
    if wrong:
        yield of_sample(
            sight,
            "not-finite",
            f"{wrong} of {x.size} values are missing or infinite"
            + (" (the data set fills them in)" if sight.filled else ""),
            severity=WARNING if sight.filled else None,
            action="fill",
            count=wrong,
        )
    if sight.kind != "series" or len(x) < 2:
        return
    same = (x == x[:1]).all(axis=0)
    if same.all():
        yield of_sample(sight, "series-constant", "the series never changes", action="remove")
    elif same.any():
        names = ", ".join(map(str, np.flatnonzero(same).tolist()))
        yield of_sample(sight, "series-constant", f"channel {names} never changes")


def _text(sight: Sight, x: str) -> Iterator[Finding]:
    if not any(unicodedata.category(letter)[0] in "LNS" for letter in x):
        yield of_sample(sight, "text-empty", "the text has no words", action="remove")
        return
    for mark in _MARKS_OF_DAMAGE:
        if mark in x:
            yield of_sample(
                sight,
                "text-damaged",
                f"the text holds {mark!r}: it was read with a wrong encoding",
                action="repair",
            )
            return
