"""What a `results` dictionary holds, and the checks that its transforms share.

`img`, `img_shape`, `ori_shape`, `img_fields` and `color_fields` must be there; the data set writes
them. `pts_fields` and `bbox_fields` name points (n x 2 or more columns) and boxes (n x 4, xyxy) in
continuous pixels of `img`. `pad_value` and `interpolation` are one value, or one per field.
`Resize` leaves `scale` (x, y) and `pad_offset` (x, y) behind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import generator
from cvtrainer.data.transforms.scene import Array

Results = dict[str, Any]

_REQUIRED = {
    "img": "the picture",
    "img_shape": "results['img'].shape[:2]",
    "ori_shape": "results['img_shape']",
    "img_fields": "['img']",
    "color_fields": "['img']",
}
_LISTS = ("img_fields", "color_fields", "pts_fields", "bbox_fields")

CONTRACT = (*_REQUIRED, "pts_fields", "bbox_fields", "pad_value", "interpolation", "scale")
"""The keys that belong to the contract, besides `pad_offset` and the fields it names."""


def check_contract(results: Results, who: str) -> None:
    """Every key and every named field is there."""
    if not isinstance(results, dict):
        raise UserError(f"{who} takes a results dict, not {type(results).__name__}")
    for key, value in _REQUIRED.items():
        if key not in results:
            raise UserError(
                f"{who}: results has no key {key!r}",
                todo=f"In the data set: results['{key}'] = {value}",
            )
    for listed in _LISTS:
        for field in results.get(listed) or ():
            if field not in results:
                raise UserError(
                    f"{who}: {listed} names {field!r}, which results does not have",
                    todo=f"Set results['{field}'] or take it out of {listed}.",
                )


def pictures(results: Results, listed: str, who: str) -> Iterator[tuple[str, Array]]:
    """The fields of that list with their arrays (height x width, or x channels)."""
    for field in results[listed]:
        value = results[field]
        if not isinstance(value, np.ndarray) or value.ndim not in (2, 3):
            raise UserError(
                f"{who}: results['{field}'] is not a picture of height x width x channels",
                todo="Give a numpy array of 2 or 3 dimensions.",
            )
        yield field, value


def move_places(results: Results, move: Callable[[Array], Array]) -> None:
    """Points and boxes through `move`, which takes and gives n x 2 places; boxes stay upright."""
    for field in results.get("pts_fields") or ():
        points = np.array(results[field], dtype=np.float32)
        if points.size:
            points[:, :2] = move(points[:, :2])
        results[field] = points
    for field in results.get("bbox_fields") or ():
        boxes = np.array(results[field], dtype=np.float32)
        if boxes.size:
            one, other = move(boxes[:, :2]), move(boxes[:, 2:4])
            boxes[:, :2], boxes[:, 2:4] = np.minimum(one, other), np.maximum(one, other)
        results[field] = boxes


def value_for(results: Results, key: str, field: str, otherwise: Any) -> Any:
    """What `results[key]` says for that field: one value for all, or a mapping by field."""
    value = results.get(key)
    if isinstance(value, Mapping):
        value = value.get(field)
    return otherwise if value is None else value


def own_generator(rng: np.random.Generator | None) -> np.random.Generator:
    """The given one; without one, Python's global generator seeds it, as a stream has set it."""
    return generator(random.getrandbits(64)) if rng is None else rng
