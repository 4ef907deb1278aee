"""What a sample is: a dict of named fields with an optional nested `target` and a `meta`.

Data sets of other shapes (an image and a label side by side) are brought into this form here, once,
so that transforms, tensorizers and collate know one form only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cvtrainer.core.errors import BadSample, UserError

__all__ = ["BadSample", "Sample", "as_sample", "sample_name", "shape_text"]

Sample = dict[str, Any]


def as_sample(raw: object, index: int, source: str) -> Sample:
    """That record as a sample whose `meta` says which one it is.

    `source` names the data set in messages and in `meta.path` where the record has no file.
    """
    if isinstance(raw, Mapping):
        sample = dict(raw)
    elif isinstance(raw, tuple | list) and len(raw) == 2:
        target = raw[1] if isinstance(raw[1], Mapping) else {"class_id": raw[1]}
        sample = {"x": raw[0], "target": dict(target)}
    else:
        raise UserError(
            f"a sample must be a dict of fields or a pair (x, label), not {type(raw).__name__}",
            where=f"{source}[{index}]",
            todo='Return e.g. {"x": image, "target": {"class_id": 3}}.',
        )
    meta = dict(sample.get("meta") or {})
    meta.setdefault("index", index)
    meta.setdefault("path", f"{source}[{index}]")
    sample["meta"] = meta
    return sample


def sample_name(sample: Mapping[str, Any]) -> str:
    """How messages call this sample: its file and number."""
    meta = sample.get("meta") or {}
    path, index = meta.get("path"), meta.get("index")
    if path is None:
        return f"sample {index}" if index is not None else "a sample"
    return f"{path} (sample {index})" if index is not None else str(path)


def shape_text(value: object) -> str:
    """The shape of a value in words, for messages."""
    if isinstance(value, np.ndarray) or hasattr(value, "shape"):
        return "x".join(str(n) for n in tuple(value.shape)) or "a single number"
    return type(value).__name__
