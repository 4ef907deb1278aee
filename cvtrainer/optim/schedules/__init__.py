"""Learning-rate schedules: torch's under one face, and pure functions of progress with a warm-up.

`curves` and `warmup` are formulas, `scheduler` writes their values into an optimizer, `kinds` are
the schedules a config names, and `schedule` drives any of them, torch's included.
"""

from __future__ import annotations

from cvtrainer.optim.schedules.kinds import (
    constant,
    cosine,
    exponential,
    linear,
    multi_step,
    one_cycle,
    plateau,
    polynomial,
    step,
    warmup_cosine,
    warmup_multi_step,
    warmup_polynomial,
)
from cvtrainer.optim.schedules.plateau import Mode, PlateauScheduler
from cvtrainer.optim.schedules.schedule import (
    Length,
    Schedule,
    SchedulerType,
    Unit,
    build_schedule,
    scheduler_class,
)
from cvtrainer.optim.schedules.scheduler import CurveScheduler
from cvtrainer.optim.schedules.warmup import Warmup

__all__ = [
    "CurveScheduler",
    "Length",
    "Mode",
    "PlateauScheduler",
    "Schedule",
    "SchedulerType",
    "Unit",
    "Warmup",
    "build_schedule",
    "constant",
    "cosine",
    "exponential",
    "linear",
    "multi_step",
    "one_cycle",
    "plateau",
    "polynomial",
    "scheduler_class",
    "step",
    "warmup_cosine",
    "warmup_multi_step",
    "warmup_polynomial",
]
