"""Optimizers with named parameter groups, and learning-rate schedules with one face.

Every optimizer and scheduler of torch is usable by its own name. What is added: learning rates
per part of a network, errors that name the argument, and schedules that resume exactly.
"""

from __future__ import annotations

from cvtrainer.optim.build import build_optimizer
from cvtrainer.optim.schedules import Schedule, build_schedule, scheduler_class

__all__ = ["Schedule", "build_optimizer", "build_schedule", "scheduler_class"]
