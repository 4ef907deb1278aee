"""Any transform of `torchvision.transforms.v2` by its own name, seeded per sample.

It sees the picture, masks, boxes and keypoints as torchvision's own tensor kinds, so that what
the library can move along moves along.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import seeded_globals
from cvtrainer.data.transforms.pixels import check_arguments
from cvtrainer.data.transforms.scene import Array, Scene

_BY_MIDDLES = (v2.RandomHorizontalFlip, v2.RandomVerticalFlip)
"""These count points from the first pixel's middle; others from the picture's edge, as we do."""


class TorchvisionTransform:
    """One transform of the library, applied to a scene."""

    def __init__(self, transform: nn.Module) -> None:
        self._transform = transform
        self._origin = 0.5 if isinstance(transform, _BY_MIDDLES) else 0.0

    def apply_seeded(self, scene: Scene, seed: int) -> Scene:
        """The scene after the transform; the seed decides every draw."""
        size = (scene.height, scene.width)
        fields: dict[str, Any] = {"image": tv_tensors.Image(_channels_first(scene.image))}
        for number, plane in enumerate(scene.planes):
            fields[f"mask{number}"] = tv_tensors.Mask(_channels_first(plane))
        if scene.boxes is not None:
            fields["boxes"] = tv_tensors.BoundingBoxes(
                torch.from_numpy(scene.boxes.copy()),
                format=tv_tensors.BoundingBoxFormat.XYXY,
                canvas_size=size,
            )
        if scene.keypoints is not None:
            points = torch.from_numpy(scene.keypoints[:, :2] - np.float32(self._origin))
            fields["keypoints"] = tv_tensors.KeyPoints(points, canvas_size=size)
        with seeded_globals(seed):
            out = self._transform(fields)
        keypoints = scene.keypoints
        if keypoints is not None:
            moved = out["keypoints"].numpy().astype(np.float32) + np.float32(self._origin)
            keypoints = np.concatenate([moved, keypoints[:, 2:]], axis=1)
        return replace(
            scene,
            image=_channels_last(out["image"], scene.image.ndim),
            planes=tuple(
                _channels_last(out[f"mask{number}"], plane.ndim)
                for number, plane in enumerate(scene.planes)
            ),
            boxes=None if scene.boxes is None else out["boxes"].numpy().astype(np.float32),
            keypoints=keypoints,
        ).clipped()


def build(name: str, arguments: Mapping[str, Any]) -> TorchvisionTransform | None:
    """That transform, or None where the library has none of that name."""
    transform = _make(name, arguments)
    return None if transform is None else TorchvisionTransform(transform)


def _make(name: str, arguments: Mapping[str, Any]) -> nn.Module | None:
    kind = getattr(v2, name, None)
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        return None
    given = dict(arguments)
    if isinstance(given.get("transforms"), list):
        given["transforms"] = [_inner(name, item) for item in given["transforms"]]
    check_arguments(kind, name, given, "torchvision")
    made: nn.Module = kind(**given)
    return made


def _inner(outer: str, item: Any) -> nn.Module:
    node: dict[str, Any] = {"type": item} if isinstance(item, str) else dict(item)
    name = str(node.pop("type", ""))
    made = _make(name, node.get("kwargs", node))
    if made is None:
        raise UserError(f"{outer}: torchvision has no transform {name!r}")
    return made


def _channels_first(plane: Array) -> Tensor:
    pixels = plane[:, :, None] if plane.ndim == 2 else plane
    return torch.from_numpy(np.ascontiguousarray(pixels).copy()).permute(2, 0, 1)


def _channels_last(picture: Tensor, ndim: int) -> Array:
    pixels: Array = np.ascontiguousarray(picture.as_subclass(Tensor).permute(1, 2, 0).numpy())
    return pixels[:, :, 0] if ndim == 2 and pixels.shape[2] == 1 else pixels
