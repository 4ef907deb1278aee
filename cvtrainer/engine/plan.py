"""How a step will be made: filled by `configure(plan)` of the hooks before networks are prepared.

The plan is data. `engine/prepare.py` carries it out in one fixed order, and `engine/step.py`
builds the step function from it once, so that no technique needs a branch inside the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

Wrap = Callable[[nn.Module], nn.Module]


@dataclass
class Plan:
    """Every field has one meaning and one reader."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sync_batchnorm: bool = False
    wrap: Wrap | None = None
    """Wraps a network for several processes; None leaves it as it is."""
