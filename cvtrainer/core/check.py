"""Everything wrong with a config, told at once and before torch is imported.

The skeleton is checked against its tables, the slots against the signatures of their targets, and
a few things against what they mean: learning rates, the scale of mean and std, names of metrics,
schedules, loader options. What only an import can tell becomes a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from cvtrainer.core.check_arguments import check_nodes
from cvtrainer.core.check_data import check_data
from cvtrainer.core.check_deploy import check_deploy
from cvtrainer.core.check_fields import check_fields
from cvtrainer.core.check_skeleton import check_required, check_skeleton
from cvtrainer.core.check_training import check_training
from cvtrainer.core.errors import Problem
from cvtrainer.core.findings import Findings
from cvtrainer.core.normalise import Normal
from cvtrainer.core.resolve import Resolver
from cvtrainer.core.signature import Signatures


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
    normal: Normal,
    resolver: Resolver,
    purpose: Purpose,
    problems: Sequence[Problem] = (),
    broken: Sequence[Problem] = (),
) -> Report:
    """All problems of a normal form, those found earlier included.

    `broken` are the includes that lead nowhere: what they would have brought is not missed again.
    """
    found = Findings(normal, problems, broken)
    signatures = Signatures(resolver.symbols)
    check_skeleton(found)
    check_nodes(found, signatures)
    check_data(found, signatures, resolver)
    check_training(found, signatures, resolver)
    check_fields(found, signatures)
    check_required(found, purpose.value)
    check_deploy(found)
    return Report(found.problems, found.notes)
