"""How an argument of a model is written behind a command, for a config that spells it in its way.

A file may say `model_args: {width: 1}`, `model: {type: net, width: 1}` or write out `kwargs`; an
override in another of these spellings than the file's would be refused as given twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError

_KWARGS = "kwargs"


@dataclass(frozen=True)
class Written:
    """A config as it was given, with the overrides behind it."""

    config: str | Path
    overrides: Sequence[str]

    def key_of(self, stage: str, place: Sequence[str], other: float) -> str:
        """The words for a place below a stage's model; `other` is a value that it does not have."""
        for spelling in _spellings(place):
            key = ".".join(("stages", stage, *spelling))
            if self._takes(f"{key}={other}", stage, place, other):
                return key
        return ".".join(("stages", stage, "model", *place))

    def _takes(self, word: str, stage: str, place: Sequence[str], other: float) -> bool:
        """Whether that override leads there."""
        try:
            compiled = compile_config(self.config, (*self.overrides, word), purpose="eval")
        except UserError:
            return False
        found: Any = next(one for one in compiled.resolved["stages"] if one["name"] == stage)
        for step in ("model", *place):
            found = found.get(step) if isinstance(found, dict) else None
        return bool(found == other)


def _spellings(place: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Written out first; then with each `kwargs` left out or not, and as `model_args`."""
    steps = [((one,), ()) if one == _KWARGS else ((one,),) for one in place]
    for parts in product(*steps):
        yield ("model", *(one for part in parts for one in part))
    if place and place[0] == _KWARGS:
        for parts in product(*steps[1:]):
            yield ("model_args", *(one for part in parts for one in part))
