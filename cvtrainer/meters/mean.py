"""The mean of any output or field, under a name of one's choice."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from cvtrainer.meters.tally import TallyMeter


class MeanMeter(TallyMeter):
    """Of one value per step the mean over steps, of one per sample that over samples.

    `bind: {value: FIELD}` says of what; `metric` is what the result is called.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("{metric}",)

    def __init__(self, metric: str) -> None:
        super().__init__()
        self.metric = metric

    def update(self, value: Tensor) -> None:
        count = torch.tensor(value.numel(), device=value.device)
        self.tally.add(total=value.detach().double().sum(), count=count)

    def compute(self) -> dict[str, float]:
        """Empty before the first value."""
        read = self.tally.numbers()
        return {self.metric: read["total"] / read["count"]} if read.get("count") else {}
