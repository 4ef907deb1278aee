"""Many samples to one batch: equal shapes are stacked, unequal ones are padded and say where.

Nested dicts keep their nesting and `meta` becomes lists. A padded field `boxes` gets a companion
`boxes_padding`, true where nothing real stands, over those dimensions that differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.batch_memory import empty_tensor, joined_rows
from cvtrainer.data.sample import Sample, sample_name, shape_text

PADDING_SUFFIX = "_padding"


class Collate:
    """Callable from a list of samples to a batch.

    Fields in `ragged` always get their padding companion, so that a model sees the same fields in
    each batch; others only in a batch where shapes differ. A mapping says along which dimension of
    the sample they differ (`{x: 1}` for sounds [C, T]), a list means the first. `pad_values` sets
    what fills a field.
    """

    thread_safe = True

    def __init__(
        self,
        *,
        pad_values: Mapping[str, float] | None = None,
        ragged: Sequence[str] | Mapping[str, int] = ("boxes", "box_labels", "keypoints"),
    ) -> None:
        # `masks` are one for each object: around the picture no object is.
        self.pad_values = {"box_labels": -1.0, "masks": 0.0, **(pad_values or {})}
        self.ragged = dict(ragged) if isinstance(ragged, Mapping) else dict.fromkeys(ragged, 0)

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        if not samples:
            raise UserError("a batch needs at least one sample")
        metas = [sample.get("meta") or {} for sample in samples]
        fields = [{k: v for k, v in sample.items() if k != "meta"} for sample in samples]
        batch = self._merge(fields, samples, "")
        if any(metas):
            names = dict.fromkeys(name for meta in metas for name in meta)
            batch["meta"] = {name: [meta.get(name) for meta in metas] for name in names}
        return batch

    def _merge(
        self, parts: Sequence[Mapping[str, Any]], samples: Sequence[Sample], above: str
    ) -> dict[str, Any]:
        first = parts[0]
        out: dict[str, Any] = {}
        for part, sample in zip(parts, samples, strict=True):
            if part.keys() != first.keys():
                odd = sorted(part.keys() ^ first.keys())[0]
                raise UserError(
                    f"field {above}{odd} is not in every sample of the batch",
                    where=sample_name(sample),
                    todo="Give every sample the same fields.",
                )
        for name in first:
            values = [part[name] for part in parts]
            if isinstance(values[0], Mapping):
                out[name] = self._merge(values, samples, f"{above}{name}.")
                continue
            out[name], padding = self._join(name, f"{above}{name}", values, samples)
            if padding is not None:
                out[name + PADDING_SUFFIX] = padding
        return out

    def _join(
        self, name: str, path: str, values: list[Any], samples: Sequence[Sample]
    ) -> tuple[Any, Tensor | None]:
        if any(value is None or isinstance(value, str | bytes) for value in values):
            return values, None
        tensors = [_as_tensor(value, path, s) for value, s in zip(values, samples, strict=True)]
        first = tensors[0].shape
        if all(t.shape == first for t in tensors):
            padding = None
            dim = self.ragged.get(name)
            if dim is not None and dim < len(first):
                padding = torch.zeros(len(tensors), first[dim], dtype=torch.bool)
            return _stack(tensors), padding
        for tensor, sample in zip(tensors, samples, strict=True):
            if tensor.ndim != len(first):
                raise UserError(
                    f"field {path} is {shape_text(tensor)}, but {shape_text(tensors[0])} in "
                    f"{sample_name(samples[0])}",
                    where=sample_name(sample),
                    todo="Give every sample the same number of dimensions.",
                )
        return _pad(tensors, self.pad_values.get(name, 0.0))


def _as_tensor(value: Any, path: str, sample: Sample) -> Tensor:
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"field {path} cannot become a tensor: {type(value).__name__}",
            where=sample_name(sample),
            todo="Give it a tensorizer.",
        )
    if array.dtype == np.float64 and not isinstance(value, np.ndarray):
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array))


def _stack(tensors: list[Tensor]) -> Tensor:
    """Stacked, in whatever memory the batch is made in."""
    first = tensors[0]
    if any(t.dtype != first.dtype for t in tensors):
        return torch.stack(tensors)
    joined = joined_rows(tensors)
    if joined is not None:
        return joined
    return torch.stack(tensors, out=empty_tensor((len(tensors), *first.shape), first.dtype))


def _pad(tensors: list[Tensor], fill: float) -> tuple[Tensor, Tensor]:
    """All in one tensor as large as the largest; and where nothing real stands."""
    shapes = [tuple(t.shape) for t in tensors]
    largest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    uneven = [d for d, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1]
    low, high = uneven[0], uneven[-1] + 1
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    out = empty_tensor((len(tensors), *largest), dtype).fill_(fill)
    padding = torch.ones((len(tensors), *largest[low:high]), dtype=torch.bool)
    for row, tensor in enumerate(tensors):
        real = tuple(slice(0, n) for n in tensor.shape)
        out[row][real] = tensor
        padding[row][real[low:high]] = False
    return out, padding


collate = Collate()
"""The collate that a stream uses when the config names none."""
