"""Overrides from the command line: `stages.train.epochs=3`, `hooks.ema.decay=0.99`.

Works on composed trees, before anything is normalised. Values are YAML. List entries go by name;
an address that starts inside a stage means every stage that has it; an argument of a node goes to
its `kwargs` unless it stands flat already; `=null` takes an entry out, or sets a key to null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.core.address import (
    NODE_WORDS,
    AddressError,
    arguments_key,
    choose,
    find,
    own_key,
    parse_address,
    reach,
    step,
)
from cvtrainer.core.errors import ConfigErrors, Problem
from cvtrainer.core.load import kind_of
from cvtrainer.core.load_yaml import read_inline
from cvtrainer.core.schema import ALIASES, RUN, STAGE
from cvtrainer.core.suggest import nearest
from cvtrainer.core.tree import (
    COMMAND_LINE,
    Mark,
    Origins,
    Path,
    Tree,
    copy_data,
    path_text,
)

RUN_WORDS = frozenset((*RUN, *ALIASES["run"]))
STAGE_WORDS = frozenset((*STAGE, *ALIASES["stage"]))
ENTRY_LISTS = frozenset(("hooks", "meters", "logger"))
"""Lists of named entries, which may also be written as mappings from names."""

_SPLIT_NODES = {"model": "model_args", "criterion": "criterion_args"}
_BARE_WORDS = {key.name: key.word for key in STAGE.values() if key.word}
"""Sections that may be written as one word, and the key it stands for."""


def apply_overrides(
    tree: Tree, overrides: Sequence[str], *, problems: list[Problem] | None = None
) -> Tree:
    """A new tree with the overrides laid over it in order; all that fail are told at once.

    With a list of `problems`, those that fail are added to it instead of raised.
    """
    result = Tree(copy_data(tree.data), tree.origins.copy())
    found: list[Problem] = []
    for count, text in enumerate(overrides, start=1):
        mark = Mark(COMMAND_LINE, count)
        address, equals, written = text.partition("=")
        address = address.strip()
        try:
            if not equals:
                raise AddressError("is no override; write key=value, such as epochs=3")
            words, value = parse_address(address), parse_value(written)
            _Override(result, words, value, mark).apply()
        except AddressError as error:
            found.append(Problem(address, error.what, error.suggestion, mark))
    if found and problems is None:
        raise ConfigErrors(found)
    if problems is not None:
        problems.extend(found)
    return result


def parse_value(text: str) -> Any:
    """What is written after the `=`: YAML, or plain text where it is none."""
    if not text.strip():
        return ""
    try:
        return read_inline(text)
    except ValueError as error:
        if text.lstrip()[0] in "[{\"'":
            raise AddressError(f"the value {text} is not YAML ({error})") from error
        return text


class _Override:
    """One override on its way into a tree."""

    def __init__(self, tree: Tree, words: tuple[str, ...], value: Any, mark: Mark) -> None:
        self.tree = tree
        self.words = words
        self.value = value
        self.mark = mark

    def apply(self) -> None:
        for path, words in self._targets():
            self._write(path, words)

    # -- where -------------------------------------------------------------------------------
    def _targets(self) -> list[tuple[Path, tuple[str, ...]]]:
        """The containers to start from, each with the words that remain."""
        data, words = self.tree.data, self.words
        stages = data.get("stages")
        if not isinstance(stages, (list, dict)):
            return [((), self._inside_bare_stage())]
        if words[0] in RUN_WORDS or words[0] in data:
            return [((), words)]
        if words[0] not in STAGE_WORDS:
            suggestion = nearest(words[0], sorted(RUN_WORDS | STAGE_WORDS | set(map(str, data))))
            raise AddressError(f"there is no {words[0]} in a run or a stage", suggestion)
        keyed = enumerate(stages) if isinstance(stages, list) else stages.items()
        places: list[Path] = [("stages", key) for key, one in keyed if isinstance(one, dict)]
        if not places:
            raise AddressError("there is no stage to set it in")
        failures: list[AddressError] = []
        having = [place for place in places if self._has(place, failures)]
        if not having and self._may_be_new(places):
            having = places
        if not having:
            raise max(failures, key=lambda error: error.suggestion is not None)
        return [(place, words) for place in having]

    def _inside_bare_stage(self) -> tuple[str, ...]:
        """In a file that is one stage, `stages.<its name>.` may be said or left out."""
        words, own = self.words, self.tree.data.get("name", "train")
        if words[0] == "stages" and len(words) > 2:
            if words[1] not in (own, "0"):
                raise AddressError(f"there is no stage {words[1]}; the file is one stage, {own}")
            words = words[2:]
        known = RUN_WORDS | STAGE_WORDS | set(map(str, self.tree.data))
        if words[0] not in known:
            suggestion = nearest(words[0], sorted(known))
            raise AddressError(f"there is no {words[0]} in a run or a stage", suggestion)
        return words

    def _has(self, place: Path, failures: list[AddressError]) -> bool:
        """Whether this stage has what the words speak of, up to the last one."""
        stage = reach(self.tree.data, place)
        *outer, last = self.words
        if not outer:
            return True
        try:
            container = reach(stage, find(stage, outer))
            if isinstance(container, list) or outer[-1] in ENTRY_LISTS:
                step(container, last)
            return True
        except AddressError as error:
            if self._bare_node_on_the_way(stage, outer):
                return True
            failures.append(AddressError(error.what, error.suggestion))
            return False

    def _bare_node_on_the_way(self, stage: Any, outer: Sequence[str]) -> bool:
        """Whether the words before the last lead to a bare name, which can become a node."""
        for count in range(1, len(outer) + 1):
            try:
                value = reach(stage, find(stage, outer[:count]))
            except AddressError:
                return False
            if isinstance(value, (str, dict)) and count == len(outer):
                return True
            if isinstance(value, str):
                return outer[count] in NODE_WORDS
            block = arguments_key(value) if isinstance(value, dict) else None
            if block and count < len(outer) and own_key(value, outer[count]) is None:
                return own_key(value.get(block) or {}, outer[count]) is None
        return False

    def _may_be_new(self, places: Sequence[Path]) -> bool:
        """A block of the skeleton that no stage has yet may be begun; a named entry may not."""
        first = self.words[0]
        return first not in ENTRY_LISTS and not any(
            reach(self.tree.data, place).get(first) is not None for place in places
        )

    # -- what --------------------------------------------------------------------------------
    def _write(self, path: Path, words: tuple[str, ...]) -> None:
        for place, word in enumerate(words[:-1]):
            path = self._enter(path, word, words[place + 1])
        container = reach(self.tree.data, path)
        if isinstance(container, list):
            spot: Path = (*path, self._choose(path, words[-1]))
        else:
            spot = self._spot(path, words[-1])
        if self.value is None and self._is_entry(spot):
            self._take_out(spot)
        else:
            self._put(spot)

    def _enter(self, path: Path, word: str, following: str) -> Path:
        """Step down one word; make what is missing, and a node of a bare name."""
        container = reach(self.tree.data, path)
        if isinstance(container, list):
            spot: Path = (*path, self._choose(path, word))
        else:
            split = _SPLIT_NODES.get(word)
            if split in container and following not in NODE_WORDS:
                word = str(split)
            spot = self._spot(path, word)
        parent: Any = reach(self.tree.data, spot[:-1])
        key = spot[-1]
        value = parent.get(key) if isinstance(parent, dict) else parent[key]
        if isinstance(value, str):
            meant = _BARE_WORDS.get(word, "type")
            parent[key] = {meant: value}
            origins = self.tree.origins
            named = Origins(value=origins.value(spot))
            node = Origins(key=origins.key(spot), value=origins.value(spot))
            node.graft((meant,), named)
            origins.graft(spot, node)
        elif value is None:
            parent[key] = {}
            self.tree.origins.set(spot, key=self.mark, value=self.mark)
        elif not isinstance(value, (dict, list)):
            where = path_text(spot, self.tree.data)
            raise AddressError(f"{where} is {kind_of(value)}, so there is no {following} in it")
        return spot

    def _spot(self, path: Path, word: str) -> Path:
        """Where a word of a mapping belongs: flat, or among a node's arguments."""
        container = reach(self.tree.data, path)
        key = own_key(container, word)
        if key is not None:
            return (*path, key)
        if path[-1:] and path[-1] in ENTRY_LISTS:
            known = [str(name) for name in container]
            there = f"there are {', '.join(known)}" if known else "it is empty"
            what = f"there is no entry {word} in {path_text(path, self.tree.data)}; {there}"
            raise AddressError(what, nearest(word, known))
        block = arguments_key(container)
        if block is None or word in NODE_WORDS:
            return (*path, word)
        if block not in container:
            container[block] = {}
            self.tree.origins.set((*path, block), key=self.mark, value=self.mark)
        return (*path, block, own_key(container[block], word) or word)

    def _choose(self, path: Path, word: str) -> int:
        try:
            return choose(reach(self.tree.data, path), word)
        except AddressError as error:
            place = path_text(path, self.tree.data)
            raise AddressError(f"{error.what} (in {place})", error.suggestion) from error

    def _is_entry(self, spot: Path) -> bool:
        """Whether this place holds an entry that can be taken out, not an argument."""
        listed = isinstance(reach(self.tree.data, spot[:-1]), list)
        return listed or (len(spot) > 1 and spot[-2] in ENTRY_LISTS)

    def _take_out(self, spot: Path) -> None:
        parent: Any = reach(self.tree.data, spot[:-1])
        del parent[spot[-1]]
        if isinstance(parent, list):
            self.tree.origins.close_gap(spot)
        else:
            self.tree.origins.remove(spot)

    def _put(self, spot: Path) -> None:
        parent: Any = reach(self.tree.data, spot[:-1])
        key = spot[-1]
        before = self.tree.origins.at(spot)
        origins = _all_at(self.mark, self.value)
        origins.set((), key=before.key() or self.mark)
        exists = isinstance(parent, list) or key in parent
        if exists:
            origins.replaces(before, parent[key])
        parent[key] = copy_data(self.value)
        self.tree.origins.graft(spot, origins)


def _all_at(mark: Mark, value: Any) -> Origins:
    """Origins that say of a value and all its parts that they stand here."""
    origins = Origins(value=mark)
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, part in enumerate(value) if isinstance(value, list) else items:
        below = _all_at(mark, part)
        below.set((), key=mark)
        origins.graft((key,), below)
    return origins
