"""A list of transforms on `results` as one callable, as a data set holds it.

Items are `{name or type, arguments…}`, names, or callables from results to results. With a key
every draw is a function of it; without one, of Python's global generator, which a stream seeds
per sample before a data set loads it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.randomness import DrawKey, generator
from cvtrainer.data.transforms.functions import call_seeded, says_thread_safe
from cvtrainer.data.transforms.nodes import transform_node
from cvtrainer.data.transforms.pixels import check_arguments
from cvtrainer.data.transforms.results import vocabulary
from cvtrainer.data.transforms.results.contract import Results
from cvtrainer.data.transforms.results.geometry import Resize


class _Step(NamedTuple):
    name: str
    transform: Callable[..., Any]


class ResultsTransforms:
    """Applies the listed transforms to a results dict in their order."""

    def __init__(self, transformer: Sequence[Any] | None = None) -> None:
        self.steps = [_step(item, place) for place, item in enumerate(transformer or (), start=1)]

    def __call__(self, results: Results, key: DrawKey | None = None) -> Results:
        own = random.getrandbits(64) if key is None and self.steps else 0
        for place, step in enumerate(self.steps, start=1):
            seed = mix(own, place) if key is None else key.at(place)
            try:
                results = call_seeded(step.transform, results, seed)
            except UserError:
                raise
            except Exception as error:
                error.add_note(f"in transform {step.name}")
                raise
            if not isinstance(results, dict):
                raise UserError(
                    f"transform {step.name} gave {type(results).__name__}, not a results dict",
                    where="transforms",
                    todo="Return the results at its end.",
                )
        return results

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def thread_safe(self) -> bool:
        """Whether no step needs the global generators."""
        return all(says_thread_safe(step.transform) for step in self.steps)

    def smallest_needed(self, height: int, width: int, key: DrawKey) -> tuple[int, int] | None:
        """The smallest size from which nothing has to be enlarged, where that can be said."""
        for place, step in enumerate(self.steps, start=1):
            if getattr(step.transform, "scale_free", False):
                continue
            if isinstance(step.transform, Resize):
                return step.transform.smallest(height, width, generator(key.at(place)))
            return None
        return None


def _step(item: Any, place: int) -> _Step:
    if isinstance(item, str | Mapping):
        name, arguments = transform_node(item, place, word="name")
        kind = getattr(vocabulary, name, None) if name in vocabulary.__all__ else None
        if kind is None:
            near = get_close_matches(name, vocabulary.__all__, n=1)
            raise UserError(
                f"the back end results has no transform {name!r}",
                where="transforms",
                todo=f"Did you mean {near[0]}?"
                if near
                else f"It has {', '.join(vocabulary.__all__)}.",
            )
        check_arguments(kind, name, arguments, "results")
        return _Step(name, kind(**arguments))
    if callable(item):
        return _Step(getattr(item, "__name__", type(item).__name__), item)
    raise UserError(f"transform {place} is {item!r}, neither a node nor a callable")
