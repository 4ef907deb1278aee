"""Short names for the things that a config names.

`cvtrainer.hooks.EMAHook` is called `ema` on the command line, in logs and in saved states: the
module is dropped, the kind's suffix is dropped, and CamelCase becomes snake_case.
"""

from __future__ import annotations

import re
from typing import Any

_SUFFIXES = ("Hook", "Meter", "Logger", "Backbone")
_ONE_WORD = {"WandB": "Wandb", "TensorBoard": "Tensorboard", "ResNet": "Resnet"}
_BORDERS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def class_name(type_string: str) -> str:
    """The last part of `module:Attr`, `pkg.mod.Attr`, `file.py:Class` or a bare name."""
    return type_string.rsplit(":", 1)[-1].rsplit(".", 1)[-1]


def snake_case(name: str) -> str:
    """`LRScheduler` -> `lr_scheduler`; what is snake_case already stays."""
    for camel, word in _ONE_WORD.items():
        name = name.replace(camel, word)
    return _BORDERS.sub("_", name).lower()


def entry_name(type_string: str) -> str:
    """The name that an entry of this type goes by unless it says another."""
    name = class_name(type_string)
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            name = name.removesuffix(suffix)
            break
    return snake_case(name)


def label(entry: Any) -> str | None:
    """The name of a list entry: its `name`, else that of its type, else none."""
    if isinstance(entry, str):
        return entry_name(entry)
    if isinstance(entry, dict):
        name, kind = entry.get("name"), entry.get("type")
        if isinstance(name, str):
            return name
        if isinstance(kind, str):
            return entry_name(kind)
    return None
