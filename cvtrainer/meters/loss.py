"""The mean loss per sample of an epoch, and of each named part of the loss.

Sums are float64 on the loss's device, so that a long epoch loses no digits and nothing waits for
the device before `compute`. A step's loss counts as often as the step has samples, which keeps a
short last batch from weighing more than it should.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from cvtrainer.protocols import State


class LossMeter:
    """Gives `loss`, and `loss_<part>` for each part where the loss has named parts."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("loss",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"loss": False}

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def update(
        self, loss: Tensor, batch_size: Tensor, losses: Mapping[str, Tensor] | None = None
    ) -> None:
        """Add `k` steps: their losses, their numbers of samples and the parts of their losses."""
        weights = batch_size.reshape(-1).to(loss.device, torch.float64, non_blocking=True)
        self._add("loss", loss, weights)
        for name, part in (losses or {}).items():
            self._add(name if name.startswith("loss") else f"loss_{name}", part, weights)

    def compute(self) -> dict[str, float]:
        """The means; empty before the first step."""
        if not self._sums:
            return {}
        totals = torch.stack(list(self._sums.values())).tolist()
        return {
            name: total / weight
            for name, (total, weight) in zip(self._sums, totals, strict=True)
            if weight
        }

    def reset(self) -> None:
        self._sums = {}

    def merge(self, states: Sequence[State]) -> None:
        """Become the sum of these states."""
        sums: dict[str, Tensor] = {}
        for state in states:
            for name, pair in state["sums"].items():
                pair = pair.to("cpu", torch.float64)
                sums[name] = sums[name] + pair if name in sums else pair
        self._sums = sums

    def state_dict(self) -> State:
        return {"sums": {name: pair.clone() for name, pair in self._sums.items()}}

    def load_state_dict(self, state: State) -> None:
        self._sums = {name: pair.clone() for name, pair in state["sums"].items()}

    def _add(self, name: str, loss: Tensor, weights: Tensor) -> None:
        values = loss.detach().reshape(-1).double()
        pair = torch.stack((values * weights, weights)).sum(dim=1)
        known = self._sums.get(name)
        self._sums[name] = pair if known is None else known.to(pair.device) + pair
