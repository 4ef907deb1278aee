"""The one word that somebody most likely meant.

Distance counts insertions, deletions, replacements and swaps of neighbours. A word is suggested
only where it is close and clearly closer than every other; a list of equally near candidates
helps nobody. Case, dashes and underscores weigh less than letters.
"""

from __future__ import annotations

from collections.abc import Iterable


def distance(left: str, right: str) -> int:
    """Edits between two words; a swap of neighbouring letters counts once."""
    if left == right:
        return 0
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        current = [i]
        for j, b in enumerate(right, start=1):
            best = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                best = min(best, before[j - 2] + 1)
            current.append(best)
        before, row = row, current
    return row[-1]


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is clearly meant by `word`, or none."""
    names = list(dict.fromkeys(name for name in candidates if name and name != word))
    folded = _fold(word)
    alike = [name for name in names if _fold(name) == folded]
    if len(alike) == 1:
        return alike[0]
    ranked = sorted((distance(word, name), name) for name in names if _close(word, name))
    if not ranked:
        return _extension(folded, names)
    best, name = ranked[0]
    if best > _reach(word):
        return _extension(folded, names)
    if len(ranked) > 1 and ranked[1][0] == best:
        return _tie(folded, [candidate for cost, candidate in ranked if cost == best])
    return name


def _fold(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _reach(word: str) -> int:
    """How many edits still look like a slip: one in three letters, three at most."""
    return 1 if len(word) <= 4 else 2 if len(word) <= 8 else 3


def _close(word: str, name: str) -> bool:
    return abs(len(word) - len(name)) <= _reach(word)


def _tie(folded: str, names: list[str]) -> str | None:
    """Among equally distant names the one nearest without case and underscores, if it is one."""
    ranked = sorted((distance(folded, _fold(name)), name) for name in names)
    return ranked[0][1] if ranked[0][0] < ranked[1][0] else None


def _extension(folded: str, names: list[str]) -> str | None:
    """The single name that begins or ends with `folded` (`accuracy` for `val/accuracy`)."""
    if len(folded) < 4:
        return None
    found = [
        name for name in names if _fold(name).startswith(folded) or _fold(name).endswith(folded)
    ]
    return found[0] if len(found) == 1 else None
