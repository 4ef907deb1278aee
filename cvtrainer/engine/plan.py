"""How a step will be made: filled by `configure(plan)` of the hooks before networks are prepared.

The plan is data. `engine/prepare.py` carries it out in one fixed order, and `engine/step.py`
builds the step function from it once, so that no technique needs a branch inside the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

Wrap = Callable[[nn.Module], nn.Module]
Around = Callable[[], AbstractContextManager[object]]


@dataclass
class Plan:
    """Every field has one meaning and one reader."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 0
    """Samples of a training batch over all processes, for hooks to go by; 0 without training."""
    memory_format: torch.memory_format | None = None
    """Of networks, and of the batch fields that have as many dimensions."""
    sync_batchnorm: bool = False
    wrap: Wrap | None = None
    """Wraps a network for several processes; None leaves it as it is."""
    compile: Callable[[nn.Module], None] | None = None
    """Compiles the wrapped network in place."""
    autocast: Around | None = None
    """Surrounds forward and loss, in training and in evaluation."""
    scaler: Callable[[str], GradScaler] | None = None
    """The gradient scaler of an update, by its name."""
    guarded: bool = False
    """Somebody watches for losses that are no numbers, the first one included."""
    accumulate: int = 1
    """Batches that make one optimizer step together."""
    reduction: Literal["mean", "sum"] = "mean"
    """Whether a step's gradient is the mean over the samples of its batches, or their sum."""
    hold_exchange: Callable[[nn.Module], AbstractContextManager[object]] | None = None
    """Keeps a wrapped network from exchanging gradients, in batches that do not end a step."""
    lockstep: bool = False
    """Networks exchange in each forward pass: all ranks make equally many, evaluating too."""
    settle: Callable[[nn.Module], None] | None = None
    """Brings a network to rest when an evaluation is over."""
    sharded_checkpoints: bool = False
    """Each process writes the parts of tensors that it holds."""
