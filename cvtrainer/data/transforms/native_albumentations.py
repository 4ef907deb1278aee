"""Any transform of Albumentations by its own name, seeded per sample.

This is the one file that imports albumentations: on import it asks the package index for newer
versions unless told not to, so that is switched off for the moment of the import.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import seeded_globals
from cvtrainer.data.transforms.pixels import check_arguments
from cvtrainer.data.transforms.scene import Scene

_SWITCH = "NO_ALBUMENTATIONS_UPDATE"
_BY_EDGES = {
    "LongestMaxSize",
    "RandomCropFromBorders",
    "RandomResizedCrop",
    "RandomScale",
    "RandomSizedBBoxSafeCrop",
    "RandomSizedCrop",
    "Resize",
    "SmallestMaxSize",
}
"""These count points from the picture's edge, as we do; others from the first pixel's middle."""


class AlbumentationsTransform:
    """One transform of the library, applied to a scene."""

    def __init__(self, transform: Any, library: ModuleType) -> None:
        boxes = library.BboxParams(format="pascal_voc", label_fields=["box_numbers"], clip=True)
        points = library.KeypointParams(format="xy", remove_invisible=False)
        self._origin = 0.0 if type(transform).__name__ in _BY_EDGES else 0.5
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got processor for")
            self._composed = library.Compose([transform], bbox_params=boxes, keypoint_params=points)

    def apply_seeded(self, scene: Scene, seed: int) -> Scene:
        """The scene after the transform; the seed decides every draw."""
        boxes = np.zeros((0, 4), np.float32) if scene.boxes is None else scene.boxes
        points = np.zeros((0, 2), np.float32) if scene.keypoints is None else scene.keypoints
        fields: dict[str, Any] = {
            "image": np.ascontiguousarray(scene.image),
            "bboxes": boxes,
            "box_numbers": list(range(len(boxes))),
            "keypoints": points[:, :2] - self._origin,
        }
        if scene.planes:
            fields["masks"] = [np.ascontiguousarray(plane) for plane in scene.planes]
        self._composed.set_random_seed(seed & 0x7FFFFFFF)
        with seeded_globals(seed):
            out = self._composed(**fields)
        numbers = np.asarray(out["box_numbers"], dtype=np.int64)
        moved = np.asarray(out["keypoints"], dtype=np.float32).reshape(-1, 2) + self._origin
        return replace(
            scene,
            image=out["image"],
            planes=tuple(out.get("masks", ())),
            boxes=None
            if scene.boxes is None
            else np.asarray(out["bboxes"], dtype=np.float32).reshape(-1, 4),
            keypoints=None
            if scene.keypoints is None
            else np.concatenate([moved, points[:, 2:]], axis=1),
            kept=scene.kept[numbers],
        ).clipped()


def build(name: str, arguments: Mapping[str, Any]) -> AlbumentationsTransform | None:
    """That transform, or None where the library has none of that name."""
    library = _import()
    transform = _make(library, name, arguments)
    return None if transform is None else AlbumentationsTransform(transform, library)


def _make(library: ModuleType, name: str, arguments: Mapping[str, Any]) -> Any:
    kind = getattr(library, name, None)
    parents = (library.BasicTransform, library.BaseCompose)
    if not inspect.isclass(kind) or not issubclass(kind, parents):
        return None
    given = dict(arguments)
    if issubclass(kind, library.BaseCompose) and "transforms" in given:
        given["transforms"] = [_inner(library, name, item) for item in given["transforms"]]
    check_arguments(kind, name, given, "albumentations")
    return kind(**given)


def _inner(library: ModuleType, outer: str, item: Any) -> Any:
    """A transform inside `OneOf` and its like; there only the library's own ones can be."""
    node: dict[str, Any] = {"type": item} if isinstance(item, str) else dict(item)
    name = str(node.pop("type", ""))
    made = _make(library, name, node.get("kwargs", node))
    if made is None:
        raise UserError(f"{outer}: albumentations has no transform {name!r}")
    return made


def _import() -> ModuleType:
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    try:
        import albumentations
    except ImportError as error:
        raise UserError(
            "albumentations is not installed", todo="Run: pip install albumentations==2.0.8"
        ) from error
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before
    library: ModuleType = albumentations
    return library
