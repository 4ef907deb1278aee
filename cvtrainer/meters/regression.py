"""How far numbers are from those wanted, and how much of their spread is explained.

Sums are in double precision. R² of several outputs is the mean over them; spreads are kept around
the mean so far, so that large offsets cost no digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from cvtrainer.meters.forms import same_shape
from cvtrainer.protocols import State


class RegressionMeter:
    """Mean absolute error, root of the mean squared error, and R²."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2")
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"mae": False, "rmse": False, "r2": True}

    def __init__(self) -> None:
        self._moments: Tensor | None = None

    def update(self, output: Tensor, target: Tensor) -> None:
        """Values `[N]`, `[N, 1]` or `[N, D]`, both alike."""
        made, wanted = same_shape("RegressionMeter", output, target)
        made, wanted = (one.double().reshape(len(one), -1) for one in (made, wanted))
        if not len(made):
            return
        error = made - wanted
        mean = wanted.mean(dim=0)
        rows = (
            torch.full_like(mean, len(wanted)),
            mean,
            (wanted - mean).square().sum(dim=0),
            error.abs().sum(dim=0),
            error.square().sum(dim=0),
        )
        self._take(torch.stack(rows))

    def compute(self) -> dict[str, float]:
        """Empty before the first sample; R² needs values that differ."""
        if self._moments is None:
            return {}
        count, _, spread, absolute, squared = self._moments.cpu().unbind()
        values = {
            "mae": float((absolute / count).mean()),
            "rmse": float((squared / count).mean().sqrt()),
        }
        if bool((spread > 0).all()):
            values["r2"] = float((1 - squared / spread).mean())
        return values

    def reset(self) -> None:
        self._moments = None

    def merge(self, states: Sequence[State]) -> None:
        """Become all samples of these states."""
        self._moments = None
        for state in states:
            if state["moments"] is not None:
                self._take(state["moments"].cpu())

    def state_dict(self) -> State:
        return {"moments": None if self._moments is None else self._moments.clone()}

    def load_state_dict(self, state: State) -> None:
        self.merge([state])

    def _take(self, new: Tensor) -> None:
        """Counts and errors add up; spreads do so around a common mean."""
        if self._moments is None:
            self._moments = new
            return
        old = self._moments.to(new.device)
        count = old[0] + new[0]
        apart = new[1] - old[1]
        mean = old[1] + apart * new[0] / count
        spread = old[2] + new[2] + apart.square() * old[0] * new[0] / count
        self._moments = torch.stack((count, mean, spread, old[3] + new[3], old[4] + new[4]))
