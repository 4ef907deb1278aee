"""Our samples through transforms on `results`, and back.

The picture becomes `img`; masks become picture fields that are resized by the nearest pixel and
never change colour; boxes and keypoints go into their lists. Everything else stays in the dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.sample import BadSample, Sample, sample_name
from cvtrainer.data.transforms.results.contract import CONTRACT, Results
from cvtrainer.data.transforms.results.listed import ResultsTransforms
from cvtrainer.data.transforms.scene import DECODED_FROM, IMAGE_FIELDS, check_mask_size

_MOVING = {"mask": "img_fields", "masks": "img_fields", "boxes": "bbox_fields"}
_MOVING["keypoints"] = "pts_fields"


class SampleTransforms:
    """Applies transforms on `results` to samples."""

    backend = "results"

    def __init__(self, items: Sequence[Any]) -> None:
        self._list = ResultsTransforms(items)

    def __call__(self, sample: Sample, key: DrawKey) -> Sample:
        if not len(self._list):
            return sample
        try:
            results, holders = _as_results(sample)
            return _as_sample(self._list(results, key), sample, holders)
        except BadSample:
            raise
        except UserError as error:
            raise UserError(
                error.what, where=error.where or sample_name(sample), todo=error.todo
            ) from error
        except Exception as error:
            error.add_note(f"while transforming {sample_name(sample)}")
            raise

    def __len__(self) -> int:
        return len(self._list)

    @property
    def thread_safe(self) -> bool:
        """Whether no step needs the global generators."""
        return self._list.thread_safe

    def smallest_needed(self, height: int, width: int, key: DrawKey) -> tuple[int, int] | None:
        """See `Transforms.smallest_needed`."""
        return self._list.smallest_needed(height, width, key)


def _as_results(sample: Sample) -> tuple[Results, dict[str, str]]:
    """The results, and which moving field came from where: `""` or `target`."""
    name = next((n for n in IMAGE_FIELDS if n in sample), None)
    if name is None:
        raise UserError("the sample has no picture to transform", todo="Put it into field x.")
    picture = np.asarray(sample[name])
    size = picture.shape[:2]
    results: Results = {k: v for k, v in sample.items() if k != name}
    if isinstance(results.get("target"), Mapping):
        results["target"] = dict(results["target"])
    results.update(img=picture, img_shape=size, ori_shape=size)
    results.update(img_fields=["img"], color_fields=["img"], pts_fields=[], bbox_fields=[])
    results["interpolation"] = {"mask": "INTER_NEAREST", "masks": "INTER_NEAREST"}
    holders: dict[str, str] = {}
    for where in ("", "target"):
        holder = results.get(where) if where else results
        for field, listed in _MOVING.items():
            if not isinstance(holder, dict) or field not in holder or field in holders:
                continue
            value = holder.pop(field)
            if field == "mask":
                check_mask_size(np.asarray(value), size, sample)
            if field == "masks":
                value = np.asarray(value)
                if not len(value):
                    value = np.zeros((0, *size), dtype=np.uint8)
                check_mask_size(value[0] if len(value) else picture, size, sample)
                value = np.moveaxis(value, 0, 2)
            results[field] = np.asarray(value)
            results[listed].append(field)
            holders[field] = where
    return results, holders


def _as_sample(results: Results, before: Sample, holders: Mapping[str, str]) -> Sample:
    fixed = {*CONTRACT, "pad_offset", *holders}
    fields = {name: value for name, value in results.items() if name not in fixed}
    for field, where in holders.items():
        value = results[field]
        if field == "masks":
            value = np.ascontiguousarray(np.moveaxis(value, 2, 0))
        (fields[where] if where else fields)[field] = value
    if DECODED_FROM in (fields.get("meta") or {}):
        fields["meta"] = {k: v for k, v in fields["meta"].items() if k != DECODED_FROM}
    image = next(name for name in IMAGE_FIELDS if name in before)
    return {image: results["img"], **fields}
