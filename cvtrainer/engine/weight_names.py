"""By which names saved weights are looked for in a network: wrappers' prefixes, a config's rules.

A wrapper (DDP, `torch.compile`, a module that holds the network) leaves words in front of names.
They are taken off only where that leads to a name the network has, so a network that really has a
part called `module` keeps it. Rules rename what is in the source; `only` and `skip` speak of the
network's own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeVar

Value = TypeVar("Value")

_LEADING = ("module.", "model.")
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


def bare(name: str) -> str:
    """Without the words that nobody but a wrapper uses."""
    for word in _ANYWHERE:
        name = name.replace(word, "")
    return name


def without_wrappers(name: str) -> Iterator[str]:
    """The name as it is, then with more and more of what wrappers put in front."""
    yield name
    shorter = bare(name)
    if shorter != name:
        yield shorter
    while shorter.startswith(_LEADING):
        shorter = shorter.partition(".")[2]
        yield shorter


def remove_module_prefix(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The weights without what wrappers put before their names, as far as it is before all."""
    named = {bare(name): value for name, value in weights.items()}
    while named:
        word = next((one for one in _LEADING if all(name.startswith(one) for name in named)), None)
        if word is None:
            break
        named = {name.removeprefix(word): value for name, value in named.items()}
    return named


@dataclass(frozen=True)
class NameRules:
    """From names of the source to names of the network; `*` stands for any text."""

    remove_prefix: tuple[str, ...] = ()
    add_prefix: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def candidates(self, name: str) -> Iterator[str]:
        """The names it may have in the network, the likeliest first."""
        for variant in without_wrappers(name):
            yield self.apply(variant)

    def apply(self, name: str) -> str:
        """Prefixes off, then the first of `rename` that fits, then the prefix on."""
        for prefix in self.remove_prefix:
            if inside(name, prefix):
                name = name[len(prefix.rstrip(".")) + 1 :]
                break
        for old, new in self.rename.items():
            found = _pattern(old).match(name)
            if found:
                name = _filled(new, found.groups()) + name[found.end() :]
                break
        return f"{self.add_prefix.rstrip('.')}.{name}" if self.add_prefix else name

    def wants(self, name: str) -> bool:
        """Whether this part of the network is to be filled."""
        chosen = not self.only or any(covers(pattern, name) for pattern in self.only)
        return chosen and not any(covers(pattern, name) for pattern in self.skip)

    def idle(self, given: Iterable[str], own: Iterable[str]) -> list[str]:
        """Rules that fit no name at all; they are surely misspelt."""
        variants = [variant for name in given for variant in without_wrappers(name)]
        found = [
            f"remove_prefix: {prefix}"
            for prefix in self.remove_prefix
            if not any(inside(name, prefix) for name in variants)
        ]
        shorter = NameRules(remove_prefix=self.remove_prefix)
        names = [shorter.apply(name) for name in variants]
        found += [
            f"rename: {old}"
            for old in self.rename
            if not any(_pattern(old).match(name) for name in names)
        ]
        mine = [*own, *(self.apply(name) for name in variants)]
        for word, patterns in (("only", self.only), ("skip", self.skip)):
            found += [
                f"{word}: {pattern}"
                for pattern in patterns
                if not any(covers(pattern, name) for name in mine)
            ]
        return found


def inside(name: str, part: str) -> bool:
    """Whether the name lies in that part of a network: `head` holds `head.weight`."""
    return name.startswith(part.rstrip(".") + ".")


def covers(pattern: str, name: str) -> bool:
    """A whole name, a part with all it holds, or a pattern with `*`."""
    if "*" in pattern:
        return fnmatchcase(name, pattern)
    return name == pattern or inside(name, pattern)


def _pattern(old: str) -> re.Pattern[str]:
    """It fits at the start of a name and up to the end of a part."""
    words = [re.escape(word) for word in old.rstrip(".").split("*")]
    end = "" if old.endswith("*") else r"(?=\.|$)"
    return re.compile("(.+?)".join(words) + end) if end else re.compile("(.+)".join(words) + "$")


def _filled(new: str, texts: Iterable[str]) -> str:
    """The new name with what each `*` of the old one stood for."""
    for text in texts:
        new = new.replace("*", text, 1)
    return new.rstrip(".")
