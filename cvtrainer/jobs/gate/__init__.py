"""The deploy gate: while a stage trains, the artefact itself decides what is best."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cvtrainer.experiment import Experiment
from cvtrainer.jobs.gate.examining import Examiner
from cvtrainer.jobs.gate.hook import DeployGate

__all__ = ["DeployGate", "gate_of"]


def gate_of(stage: Mapping[str, Any], experiment: Experiment, folder: Path) -> DeployGate:
    """The hook of a stage that has a `deploy` block; its artefacts go below that folder."""
    return DeployGate(stage["deploy"], folder, partial(Examiner, stage, experiment))
