"""A scheduler of torch's kind whose rates are a curve's value at the present count.

It can stand wherever torch's can, also inside SequentialLR. Its state is a count and what the curve
was made of; the rates follow from them, in a resumed run as in an unbroken one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cvtrainer.core.errors import UserError
from cvtrainer.optim.schedules.warmup import Warmup

Curve = Callable[..., float]
"""`curve(done, **settings)`: the share of the full rate."""

_KEPT = ("last_epoch", "base_lrs", "settings", "peaks", "warmed", "waits", "base_momenta")


class CurveScheduler(LRScheduler):
    """Full rate (each group's own, or its peak) times curve, after the warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        curve: Curve,
        settings: Mapping[str, Any],
        warmup: Warmup,
        *,
        peaks: Sequence[float] | None = None,
        momentum: Curve | None = None,
    ) -> None:
        self.curve = curve
        self.settings = dict(settings)
        self.warmup = warmup
        self.peaks = None if peaks is None else list(peaks)
        self.momentum = momentum
        self.unit: Literal["epoch", "step"] = "step"
        self.warmed = 0
        self.waits = float(warmup.steps) if warmup.delay else 0.0
        for group in optimizer.param_groups:
            if momentum_of(group):
                group.setdefault("initial_momentum", momentum_of(group))
        self.base_momenta = [group.get("initial_momentum") for group in optimizer.param_groups]
        super().__init__(optimizer)

    def fit(self, unit: Literal["epoch", "step"], steps_per_epoch: int) -> None:
        """What the curve counts, and how many optimizer steps an epoch has."""
        self._refuse_ramps_of_nothing()
        self.unit = unit
        if self.warmup.delay and unit == "epoch":
            self.waits = self.warmup.steps / steps_per_epoch
        if self.waits and self.waits >= self.settings.get("total_steps", float("inf")):
            raise UserError(
                "the run is over before the warm-up is", where="scheduler_kwargs.warmup"
            )
        self.apply()

    def _refuse_ramps_of_nothing(self) -> None:
        """A rate for biases that are in no group of their own, momentum that nobody has."""
        groups = self.optimizer.param_groups
        if self.warmup.bias_lr is not None and not any("kind" in group for group in groups):
            raise UserError(
                "bias_lr: the optimizer keeps biases with the weights",
                where="scheduler_kwargs.warmup",
                todo="Write optimizer.groups: {no_decay: [norm, bias]}.",
            )
        if self.warmup.momentum is not None and not any(self.base_momenta):
            raise UserError(
                f"momentum: this {type(self.optimizer).__name__} has none",
                where="scheduler_kwargs.warmup",
                todo="Give the optimizer a momentum, or leave it out here.",
            )

    def step(self, epoch: int | None = None) -> None:
        """One unit of the curve is over."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self.apply()

    def warm_up(self) -> None:
        """One optimizer step is over, for a curve that counts epochs."""
        self.warmed += 1
        if self.warmed <= self.warmup.steps:
            self.apply()

    def get_lr(self) -> list[float | Tensor]:
        """The rates of all groups at the present count."""
        share = self._at(self.curve)
        full = self.peaks or [float(rate) for rate in self.base_lrs]
        return [
            self.warmup.rate(self._steps, rate * share, bias=group.get("kind") == "bias")
            for rate, group in zip(full, self.optimizer.param_groups, strict=True)
        ]

    def apply(self) -> None:
        """Write rates and momentum into the optimizer."""
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._last_lr = rates
        if self.momentum is None and self.warmup.momentum is None:
            return
        for group, full in zip(self.optimizer.param_groups, self.base_momenta, strict=True):
            if full is not None:
                target = full if self.momentum is None else self._at(self.momentum)
                _set_momentum(group, self.warmup.momentum_at(self._steps, target))

    def state_dict(self) -> dict[str, Any]:
        return {**{key: getattr(self, key) for key in _KEPT}, "warmup": asdict(self.warmup)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key in _KEPT:
            setattr(self, key, state_dict[key])
        self.warmup = Warmup(**state_dict["warmup"])
        self.apply()

    @property
    def _steps(self) -> int:
        return self.last_epoch if self.unit == "step" else self.warmed

    def _at(self, curve: Curve) -> float:
        settings = self.settings
        if self.waits and "total_steps" in settings:
            rest = settings["total_steps"] - self.waits  # not above 0 until `fit` tells the unit
            settings = {**settings, "total_steps": rest if rest > 0 else settings["total_steps"]}
        return curve(max(0.0, self.last_epoch - self.waits), **settings)


def momentum_of(group: Mapping[str, Any]) -> float | None:
    """Momentum of a group, or Adam's first beta."""
    if "betas" in group:
        return float(group["betas"][0])
    return float(group["momentum"]) if "momentum" in group else None


def _set_momentum(group: dict[str, Any], value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
