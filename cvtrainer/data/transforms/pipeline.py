"""The transforms of a config as one callable: `Transforms(backend, items)(sample, key)`.

`Albumentations` and `Torchvision` share one vocabulary over pictures with their labels; `results`
(also called `engine`) works on dictionaries that name their own fields. All of them draw as a
function of the key and the place in the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.sample import Sample
from cvtrainer.data.transforms.results.samples import SampleTransforms
from cvtrainer.data.transforms.scene_list import SceneTransforms

_RESULTS = ("results", "engine")


class _TransformList(Protocol):
    @property
    def backend(self) -> str: ...

    @property
    def thread_safe(self) -> bool: ...

    def __call__(self, sample: Sample, key: DrawKey) -> Sample: ...

    def __len__(self) -> int: ...

    def smallest_needed(self, height: int, width: int, key: DrawKey) -> tuple[int, int] | None: ...


class Transforms:
    """Applies the listed transforms in their order.

    An item is `{type, kwargs}`, a name, one of our transforms, or a callable from sample to
    sample. `backend` is Albumentations, Torchvision or results, in any case.
    """

    def __init__(
        self, backend: str = "Albumentations", transforms: Sequence[Any] | None = None
    ) -> None:
        items = transforms or ()
        self._list: _TransformList
        if str(backend).lower() in _RESULTS:
            self._list = SampleTransforms(items)
        else:
            self._list = SceneTransforms(backend, items)
        self.backend = self._list.backend

    def __call__(self, sample: Sample, key: DrawKey) -> Sample:
        return self._list(sample, key)

    def __len__(self) -> int:
        return len(self._list)

    @property
    def thread_safe(self) -> bool:
        """Whether no step needs the global generators, so that threads may run it."""
        return self._list.thread_safe

    def smallest_needed(self, height: int, width: int, key: DrawKey) -> tuple[int, int] | None:
        """The smallest (height, width) from which a picture of that size gives the same result
        without being enlarged; None where all of it is needed, or nothing can be said."""
        return self._list.smallest_needed(height, width, key)


def build_transforms(backend: str, items: Sequence[Any]) -> Transforms:
    """The transforms of a config block, ready to be called."""
    return Transforms(backend, items)
