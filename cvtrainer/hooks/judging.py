"""Which metric a run is judged by, and whether a value of it is better than the best so far.

Checkpoints and early stopping judge alike: a name may be written in any accepted spelling, the
direction is what the meter declares unless the config says it, and a value that is no number never
wins.
"""

from __future__ import annotations

import math
from typing import Literal

from cvtrainer.core.errors import UserError
from cvtrainer.core.metric_names import find_metric
from cvtrainer.engine.view import StageView


def judged_metric(wanted: str, stage: StageView, *, where: str) -> str:
    """The stored name of the metric that is meant."""
    found = find_metric(wanted, stage["metrics"])
    if found is None:
        raise UserError(f"{where}: no meter gives {wanted!r}; there is {metrics_there(stage)}")
    return found


def metrics_there(stage: StageView) -> str:
    """For a message: everything that is measured."""
    return ", ".join(stage["metrics"]) or "no metric at all: add a meter"


def is_better(
    value: float,
    best: float | None,
    *,
    metric: str,
    mode: Literal["max", "min"] | None,
    stage: StageView,
    min_delta: float = 0.0,
) -> bool:
    """Whether the value beats the best by more than `min_delta`; a mode of None asks the meter.

    A metric of something else that is measured like evaluation has its meters' direction.
    """
    if math.isnan(value):
        return False
    if best is None:
        return True
    if mode is None:
        phase, _, name = metric.partition("/")
        meters = stage.trainer.meters
        higher = meters.get(phase, meters["val"]).higher_is_better(name)
    else:
        higher = mode == "max"
    return value > best + min_delta if higher else value < best - min_delta
