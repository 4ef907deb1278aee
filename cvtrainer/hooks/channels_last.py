"""Lays pictures and convolution weights out with their channels last, which many kernels prefer.

Numbers stay the same up to rounding; names and shapes of weights and batches do not change.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from cvtrainer.engine.plan import Plan
from cvtrainer.hooks.base import BaseHook, Rank


class ChannelsLastHook(BaseHook):
    """For networks, and for the fields of a batch that have four dimensions."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def configure(self, plan: Plan) -> None:
        plan.memory_format = torch.channels_last
