"""Dotted addresses into a config: `stages.train.hooks.ema.decay`, `common.aug_medium`.

A word is a key, the name of a list entry, or its place in the list; an argument of a node is found
whether it stands flat or in `kwargs`. Includes, references and command-line overrides share this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cvtrainer.core import schema
from cvtrainer.core.naming import class_name, label, snake_case
from cvtrainer.core.suggest import nearest
from cvtrainer.core.tree import Path, path_text

NODE_WORDS = frozenset((*schema.NODE_WORDS, *schema.OPTIMIZER_WORDS, *schema.LOSS_WORDS, "args"))
"""Words that belong to a node itself; every other word is an argument of what it names."""

_WORD = re.compile(r'"([^"]*)"|([^.\[\]"]+)|\[(-?\d+)\]')


class AddressError(ValueError):
    """An address that leads nowhere: what is wrong, and the word that may have been meant."""

    def __init__(self, what: str, suggestion: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.suggestion = suggestion


def parse_address(text: str) -> tuple[str, ...]:
    """`a.b[0]."c.d"` as its words."""
    words: list[str] = []
    place = 0
    while place < len(text):
        found = _WORD.match(text, place)
        if found is None:
            raise AddressError(f"{text!r} is no address; write words with dots, such as a.b.c")
        words.append(next(group for group in found.groups() if group is not None))
        place = found.end()
        if text[place : place + 1] == "." and place + 1 < len(text):
            place += 1
    if not words:
        raise AddressError("an address has at least one word")
    return tuple(words)


def choose(entries: Sequence[Any], word: str) -> int:
    """The place of the list entry that this word means."""
    if re.fullmatch(r"-?\d+", word):
        place = int(word)
        if -len(entries) <= place < len(entries):
            return place % len(entries)
        raise AddressError(f"there is no entry {word}; the list has {len(entries)}")
    wanted = snake_case(word)
    names = [label(entry) for entry in entries]
    found = [place for place, name in enumerate(names) if name is not None and name == word]
    found = found or [
        place
        for place, (name, entry) in enumerate(zip(names, entries, strict=True))
        if name is not None and (name == wanted or class_name(_type(entry)) == word)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(str(place) for place in found)
        raise AddressError(f"{word} is the name of several entries; say which by number: {places}")
    known = [name for name in names if name]
    there = f"there are {', '.join(known)}" if known else "its entries have no names"
    if not entries:
        there = "the list is empty"
    raise AddressError(f"there is no entry {word}; {there}", nearest(word, known))


def step(container: Any, word: str) -> Path:
    """The path of one word below a container: a key, an entry, or an argument in `kwargs`."""
    if isinstance(container, list):
        return (choose(container, word),)
    if not isinstance(container, dict):
        raise AddressError(f"nothing lies below it, so there is no {word}")
    key = own_key(container, word)
    if key is not None:
        return (key,)
    block = arguments_key(container)
    if block is not None and isinstance(container.get(block), dict):
        key = own_key(container[block], word)
        if key is not None:
            return (block, key)
    known = [str(key) for key in container]
    raise AddressError(f"there is no {word}", nearest(word, known))


def own_key(container: dict[Any, Any], word: str) -> Any:
    """The key that stands in this mapping itself, be it a word or a number."""
    if word in container:
        return word
    if re.fullmatch(r"-?\d+", word) and int(word) in container:
        return int(word)
    return None


def arguments_key(container: dict[Any, Any]) -> str | None:
    """Where a node keeps its arguments; None where the mapping is no node."""
    for key in ("kwargs", "args"):
        if isinstance(container.get(key), dict):
            return key
    return "kwargs" if isinstance(container.get("type"), str) else None


def find(data: Any, words: Sequence[str]) -> Path:
    """The path that these words mean; AddressError names the first one that leads nowhere."""
    path: Path = ()
    value = data
    for word in words:
        try:
            steps = step(value, word)
        except AddressError as error:
            place = path_text(path, data)
            what = f"{error.what} in {place}" if place else error.what
            raise AddressError(what, error.suggestion) from error
        path += steps
        for key in steps:
            value = value[key]
    return path


def reach(data: Any, path: Path) -> Any:
    """The value at a path that exists."""
    for key in path:
        data = data[key]
    return data


def _type(entry: Any) -> str:
    if isinstance(entry, dict):
        kind = entry.get("type")
        return kind if isinstance(kind, str) else ""
    return entry if isinstance(entry, str) else ""
