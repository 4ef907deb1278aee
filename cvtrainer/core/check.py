"""Everything wrong with a config, told at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from cvtrainer.core.errors import Problem
from cvtrainer.core.normalise import Normal
from cvtrainer.core.resolve import Resolver


class Purpose(Enum):
    """What a config is read for; it decides what must be there."""

    AUTO = "auto"
    TRAIN = "train"
    EVAL = "eval"


@dataclass
class Report:
    """Problems, and what could not be checked from source."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_config(
    normal: Normal, resolver: Resolver, purpose: Purpose, problems: list[Problem]
) -> Report:
    """All problems of a normal form, those found earlier included."""
    return Report(list(problems))
