"""The short words for number types that configs use, in one place."""

from __future__ import annotations

import torch

from cvtrainer.core.errors import UserError

_TYPES = {
    "float": torch.float32,
    "float32": torch.float32,
    "half": torch.float16,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "double": torch.float64,
    "float64": torch.float64,
    "uint8": torch.uint8,
    "int": torch.int32,
    "int32": torch.int32,
    "long": torch.int64,
    "int64": torch.int64,
    "bool": torch.bool,
}


def number_type(name: str) -> torch.dtype:
    """`float` -> torch.float32, `long` -> torch.int64, and so on."""
    try:
        return _TYPES[name.removeprefix("torch.")]
    except (KeyError, AttributeError) as error:
        raise UserError(f"no number type {name!r}", todo=f"Use {', '.join(_TYPES)}.") from error
