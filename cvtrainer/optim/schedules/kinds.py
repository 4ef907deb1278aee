"""The schedules a config names: `cosine`, `multi_step`, …, each with a warm-up if it is given one.

`total_steps` counts what the schedule counts, epochs or steps; the run's length is filled in.
`warmup_steps` counts optimizer steps; a duration (`5%`, `3ep`) is turned into them before.
`final` is a share of the full rate. What ends holds its last value when the run goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.optim.schedules import curves
from cvtrainer.optim.schedules.plateau import PlateauScheduler, Rule
from cvtrainer.optim.schedules.scheduler import Curve, CurveScheduler
from cvtrainer.optim.schedules.warmup import Warmup, read_warmup

WarmUp = Warmup | Mapping[str, Any] | str | float | None
"""A warm-up, its words as a config writes them, or its length alone."""


def constant(optimizer: Optimizer, warmup: WarmUp = None) -> CurveScheduler:
    """The same rate all the time."""
    return CurveScheduler(optimizer, curves.constant, {}, read_warmup(warmup))


def step(
    optimizer: Optimizer, step_size: int, gamma: float = 0.1, warmup: WarmUp = None
) -> CurveScheduler:
    """Times gamma after every `step_size`."""
    settings = {"step_size": step_size, "gamma": gamma}
    return CurveScheduler(optimizer, curves.step, settings, read_warmup(warmup))


def multi_step(
    optimizer: Optimizer,
    milestones: Sequence[int],
    gamma: float = 0.1,
    total_steps: int | None = None,
    warmup: WarmUp = None,
) -> CurveScheduler:
    """Times gamma at each milestone."""
    late = [mark for mark in milestones if total_steps is not None and mark > total_steps]
    if late:
        warnings.warn(
            f"scheduler_kwargs.milestones: {', '.join(map(str, late))} lie beyond the run's "
            f"{total_steps} and are ignored",
            stacklevel=2,
        )
    reached = [mark for mark in milestones if mark not in late]
    settings = {"milestones": reached, "gamma": gamma}
    return CurveScheduler(optimizer, curves.multi_step, settings, read_warmup(warmup))


def cosine(
    optimizer: Optimizer, total_steps: int, final: float = 0.0, warmup: WarmUp = None
) -> CurveScheduler:
    """Half a cosine wave, down to `final`."""
    settings = {"total_steps": total_steps, "final": final}
    return _ending(optimizer, curves.cosine, settings, warmup)


def linear(
    optimizer: Optimizer, total_steps: int, final: float = 0.0, warmup: WarmUp = None
) -> CurveScheduler:
    """A straight line down to `final`."""
    settings = {"total_steps": total_steps, "final": final}
    return _ending(optimizer, curves.linear, settings, warmup)


def polynomial(
    optimizer: Optimizer,
    total_steps: int,
    power: float = 2.0,
    final: float = 0.0,
    warmup: WarmUp = None,
) -> CurveScheduler:
    """What is left of the run, to a power, down to `final`."""
    settings = {"total_steps": total_steps, "power": power, "final": final}
    return _ending(optimizer, curves.polynomial, settings, warmup)


def exponential(
    optimizer: Optimizer, gamma: float, final: float = 0.0, warmup: WarmUp = None
) -> CurveScheduler:
    """Times gamma each time, towards `final`."""
    settings = {"gamma": gamma, "final": final}
    return CurveScheduler(optimizer, curves.exponential, settings, read_warmup(warmup))


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    max_lr: float | Sequence[float] | None = None,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    anneal: Literal["cos", "linear"] = "cos",
    momentum: tuple[float, float] | None = (0.85, 0.95),
) -> CurveScheduler:
    """Up to the peak, which is each group's own rate without `max_lr`, and down to nearly nothing.

    Momentum goes the other way, from the second value to the first and back; null leaves it alone.
    """
    if anneal not in ("cos", "linear") or not 0 <= pct_start <= 1:
        raise UserError(
            "anneal is cos or linear and pct_start lies between 0 and 1", where="scheduler_kwargs"
        )
    groups = len(optimizer.param_groups)
    peaks = [max_lr] * groups if isinstance(max_lr, int | float) else max_lr
    if peaks is not None and len(peaks) != groups:
        raise UserError(
            f"max_lr has {len(peaks)} rates for {groups} groups", where="scheduler_kwargs"
        )
    settings = {
        "total_steps": total_steps,
        "pct_start": pct_start,
        "div_factor": div_factor,
        "final_div_factor": final_div_factor,
        "anneal": anneal,
    }
    swing = partial(_momentum_cycle, values=momentum) if momentum else None
    return CurveScheduler(
        optimizer, curves.one_cycle, settings, Warmup(), peaks=peaks, momentum=swing
    )


def plateau(
    optimizer: Optimizer,
    mode: Literal["auto", "min", "max"] = "auto",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float | Sequence[float] = 0.0,
    eps: float = 1e-8,
    warmup: WarmUp = None,
) -> PlateauScheduler:
    """Times `factor` where a metric is no better for `patience` evaluations; `auto` asks it."""
    rule = Rule(mode, factor, patience, threshold, threshold_mode, cooldown, eps)
    return PlateauScheduler(optimizer, rule, min_lr, read_warmup(warmup))


def warmup_cosine(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int | str,
    warmup_factor: float = 0.0,
    final: float = 0.0,
    delay: bool = True,
) -> CurveScheduler:
    """Linear warm-up, then the cosine over the rest; over the whole run without `delay`."""
    warmup = Warmup(int(warmup_steps), warmup_factor, delay=delay)
    return cosine(optimizer, total_steps, final, warmup)


def warmup_polynomial(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int | str,
    warmup_factor: float = 0.0,
    power: float = 2.0,
    final: float = 0.0,
    delay: bool = True,
) -> CurveScheduler:
    """Linear warm-up, then the power's curve over the rest; over the whole run without `delay`."""
    warmup = Warmup(int(warmup_steps), warmup_factor, delay=delay)
    return polynomial(optimizer, total_steps, power, final, warmup)


def warmup_multi_step(
    optimizer: Optimizer,
    milestones: Sequence[int],
    warmup_steps: int | str,
    warmup_factor: float = 0.01,
    warmup_method: Literal["linear", "constant"] = "linear",
    gamma: float = 0.1,
    total_steps: int | None = None,
) -> CurveScheduler:
    """Warm-up, then times gamma at each milestone, counted from the run's start."""
    warmup = Warmup(int(warmup_steps), warmup_factor, warmup_method)
    return multi_step(optimizer, milestones, gamma, total_steps, warmup)


def _ending(
    optimizer: Optimizer, curve: Curve, settings: Mapping[str, Any], warmup: WarmUp
) -> CurveScheduler:
    if settings["total_steps"] < 1:
        raise UserError("total_steps must be 1 or more", where="scheduler_kwargs")
    return CurveScheduler(optimizer, curve, settings, read_warmup(warmup))


def _momentum_cycle(
    done: float, *, values: Sequence[float], total_steps: int, pct_start: float, **rest: Any
) -> float:
    low, high = values
    return curves.cycle(done, total_steps, pct_start, (high, low, high), rest["anneal"])
