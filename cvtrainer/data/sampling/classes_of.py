"""Which classes the samples of a data set show, read from its columns and never from its files."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, NamedTuple

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.sampling.permutation import Numbers

_LISTS = ("class_ids", "box_labels")


class ClassPairs(NamedTuple):
    """Pairs of a sample and a class that it shows; a sample may show none, or one twice."""

    samples: Numbers
    classes: Numbers


def class_numbers(dataset: Sized, asks: str) -> Numbers:
    """The class of each sample, for a sampler that needs exactly one."""
    labels = getattr(dataset, "labels", None)
    if labels is None:
        raise UserError(
            f"{type(dataset).__name__} does not say the class of each sample",
            where=asks,
            todo="Give the data set an attribute `labels`, one class number per sample.",
        )
    numbers = np.asarray(labels)
    if len(numbers) != len(dataset) or numbers.dtype.kind not in "iu":
        raise UserError(
            f"`labels` of {type(dataset).__name__} must be {len(dataset)} class numbers",
            where=asks,
        )
    return numbers.astype(np.int64, copy=False)


def class_pairs(dataset: Sized, asks: str) -> ClassPairs:
    """All classes of all samples: one each, or lists of them."""
    columns: Any = getattr(dataset, "index", ())
    if getattr(dataset, "labels", None) is None:
        for name in _LISTS:
            if name in columns:
                return _pairs(columns.column(name))
    classes = class_numbers(dataset, asks)
    return ClassPairs(np.arange(len(classes), dtype=np.int64), classes)


def _pairs(column: Any) -> ClassPairs:
    import pyarrow.compute as pc

    counts = pc.fill_null(pc.list_value_length(column), 0)
    lengths = counts.to_numpy(zero_copy_only=False).astype(np.int64)
    samples = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return ClassPairs(samples, np.asarray(flat, dtype=np.int64))
