"""How a program is quantised: what is chosen per target, and what the ladder changes."""

from __future__ import annotations

from dataclasses import dataclass

TOOL = "torchao"
MODELOPT = "modelopt"


@dataclass(frozen=True)
class Scheme:
    """8-bit numbers with signs throughout.

    Weights are symmetric, per output channel or per tensor. `float_layers` are module paths that
    stay float, `float_operators` single nodes of the captured graph. `symmetric` also holds
    activations to a zero point of zero.
    """

    method: str = "mse"
    percentile: float = 99.99
    per_channel: bool = True
    symmetric: bool = False
    equalise: bool = False
    correct_bias: bool = False
    tool: str = TOOL
    """What places the rounding; some targets know another than ours."""
    float_layers: frozenset[str] = frozenset()
    float_operators: frozenset[str] = frozenset()
