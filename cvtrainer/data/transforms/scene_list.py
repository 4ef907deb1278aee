"""The transforms of a config over Albumentations or torchvision.

A name is looked up in the shared vocabulary first and then in the back end's own library; one that
neither has is an error that says who would have it. Objects and functions in the list are called
with the whole sample. Every draw is a function of the key and the place in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import DrawKey, generator
from cvtrainer.data.sample import BadSample, Sample, sample_name
from cvtrainer.data.transforms import vocabulary
from cvtrainer.data.transforms.functions import call_seeded, says_thread_safe
from cvtrainer.data.transforms.nodes import transform_node
from cvtrainer.data.transforms.pixels import PixelOperations, check_arguments
from cvtrainer.data.transforms.scene import Scene, SceneFields

_LIBRARIES = {"albumentations": "Albumentations", "torchvision": "Torchvision"}
_TENSORIZER_WORK = ("Normalize", "ToTensor", "ToTensorV2", "ToTensor3D", "ToDtype", "ToImage")


@runtime_checkable
class VocabularyTransform(Protocol):
    """Draws from the generator, works with the back end's operations."""

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene: ...


class NativeTransform(Protocol):
    """A transform of the back end's own library."""

    def apply_seeded(self, scene: Scene, seed: int) -> Scene: ...


class _Step(NamedTuple):
    name: str
    place: int
    vocabulary: VocabularyTransform | None = None
    native: NativeTransform | None = None
    function: Callable[..., Sample] | None = None

    @property
    def thread_safe(self) -> bool:
        if self.vocabulary is not None:
            ours = type(self.vocabulary).__module__.startswith(f"{__package__}.")
            return ours or says_thread_safe(self.vocabulary)
        return self.function is not None and says_thread_safe(self.function)


class SceneTransforms:
    """Applies the listed transforms in their order."""

    def __init__(self, backend: str, items: Sequence[Any]) -> None:
        self._pixels = load_pixels(backend)
        self.backend = self._pixels.name
        self._steps = [self._step(item, place) for place, item in enumerate(items, start=1)]

    def __call__(self, sample: Sample, key: DrawKey) -> Sample:
        fields: SceneFields | None = None
        scene: Scene | None = None
        for step in self._steps:
            seed = key.at(step.place)
            try:
                if step.function is not None:
                    if fields is not None and scene is not None:
                        sample, fields, scene = fields.write(scene), None, None
                    sample = call_seeded(step.function, sample, seed)
                    continue
                if fields is None or scene is None:
                    fields = SceneFields(sample)
                    scene = fields.scene()
                scene = self._apply(step, scene, seed)
            except BadSample:
                raise
            except UserError as error:
                raise UserError(
                    error.what, where=error.where or sample_name(sample), todo=error.todo
                ) from error
            except Exception as error:
                error.add_note(f"in transform {step.name} of {sample_name(sample)}")
                raise
        return sample if fields is None or scene is None else fields.write(scene)

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def thread_safe(self) -> bool:
        """Whether no step needs the global generators, so that threads may run it."""
        return all(step.thread_safe for step in self._steps)

    def smallest_needed(self, height: int, width: int, key: DrawKey) -> tuple[int, int] | None:
        """The smallest (height, width) from which a picture of that size gives the same result
        without being enlarged; None where all of it is needed, or nothing can be said."""
        for step in self._steps:
            if getattr(step.vocabulary, "scale_free", False):
                continue
            smallest = getattr(step.vocabulary, "smallest", None)
            if smallest is None:
                return None
            size: tuple[int, int] = smallest(height, width, generator(key.at(step.place)))
            return size
        return None

    def _apply(self, step: _Step, scene: Scene, seed: int) -> Scene:
        if step.vocabulary is not None:
            return step.vocabulary.apply(scene, generator(seed), self._pixels)
        assert step.native is not None
        return step.native.apply_seeded(scene, seed)

    def _step(self, item: Any, place: int) -> _Step:
        if isinstance(item, str | Mapping):
            name, arguments = transform_node(item, place)
            library, _, inner = name.replace(":", ".").rpartition(".")
            if library:
                return _Step(name, place, native=_of_library(library, inner, arguments))
            kind = getattr(vocabulary, name, None) if name in vocabulary.__all__ else None
            if kind is not None:
                self._check(kind, name, arguments)
                return _Step(name, place, vocabulary=kind(**arguments))
            return _Step(name, place, native=self._native(name, arguments))
        name = getattr(item, "__name__", type(item).__name__)
        if isinstance(item, VocabularyTransform):
            return _Step(name, place, vocabulary=item)
        if callable(item):
            return _Step(name, place, function=item)
        raise UserError(f"transform {place} is {item!r}, neither a node nor a callable")

    def _check(self, kind: type, name: str, arguments: Mapping[str, Any]) -> None:
        """Arguments that only the back end's own transform of that name takes are pointed there."""
        try:
            check_arguments(kind, name, arguments, "the shared vocabulary")
        except UserError as error:
            if not _accepts(self.backend, name, arguments):
                raise
            library = self.backend.lower()
            raise UserError(
                error.what,
                where=error.where,
                todo=f"The back end's own takes it: write {library}.{name}.",
            ) from error

    def _native(self, name: str, arguments: Mapping[str, Any]) -> NativeTransform:
        if name in _TENSORIZER_WORK:
            raise UserError(
                f"{name} is the tensorizer's work here",
                where="transforms",
                todo="Remove it and set ImageTensorizer's normalize and dtype.",
            )
        made = _build(self.backend, name, arguments)
        if made is not None:
            return made
        other = "Torchvision" if self.backend == "Albumentations" else "Albumentations"
        near = get_close_matches(name, vocabulary.__all__, n=1)
        if _has(other, name):
            todo = f"It exists in {other}: set backend: {other}."
        elif near:
            todo = f"Did you mean {near[0]}?"
        else:
            todo = f"The shared vocabulary is {', '.join(vocabulary.__all__)}."
        raise UserError(
            f"{name} has no translation to the back end {self.backend}",
            where="transforms",
            todo=todo,
        )


def _build(backend: str, name: str, arguments: Mapping[str, Any]) -> NativeTransform | None:
    if backend == "Torchvision":
        from cvtrainer.data.transforms import native_torchvision

        return native_torchvision.build(name, arguments)
    from cvtrainer.data.transforms import native_albumentations

    return native_albumentations.build(name, arguments)


def _of_library(library: str, name: str, arguments: Mapping[str, Any]) -> NativeTransform:
    """A transform that is written with its library: that one, on either back end."""
    backend = _LIBRARIES.get(library.partition(".")[0])
    made = _build(backend, name, arguments) if backend else None
    if made is None:
        raise UserError(
            f"{library} has no transform {name}",
            where="transforms",
            todo=f"Write the name alone, or with one of {', '.join(_LIBRARIES)} before it.",
        )
    return made


def _has(backend: str, name: str) -> bool:
    """Whether that back end's library has a transform of this name, whatever it needs."""
    try:
        return _build(backend, name, {}) is not None
    except ModuleNotFoundError:
        return False
    except (UserError, TypeError, ValueError):
        return True


def _accepts(backend: str, name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether that back end's own transform of this name takes these arguments."""
    try:
        return _build(backend, name, arguments) is not None
    except (UserError, TypeError, ValueError, ModuleNotFoundError):
        return False


def load_pixels(backend: str) -> PixelOperations:
    """The pixel operations of that back end; its name is free of case."""
    name = str(backend).lower()
    if name == "albumentations":
        from cvtrainer.data.transforms.pixels_opencv import OpenCvPixels

        return OpenCvPixels()
    if name == "torchvision":
        from cvtrainer.data.transforms.pixels_torchvision import TorchvisionPixels

        return TorchvisionPixels()
    raise UserError(
        f"no transform back end {backend!r}", todo="Use Albumentations, Torchvision or results."
    )
