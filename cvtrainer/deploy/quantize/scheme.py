"""How a program is quantised: what is chosen per target, and what the ladder changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cvtrainer.core.choices import insist_on_choice
from cvtrainer.core.schema import CALIBRATORS, QUANTIZERS

TOOL, MODELOPT = QUANTIZERS


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

    def plain(self) -> dict[str, Any]:
        """For a file; single operators have names of the graph's own, and are only counted."""
        told = asdict(self)
        told["float_layers"] = sorted(self.float_layers)
        told["float_operators"] = len(self.float_operators)
        return told

    def __post_init__(self) -> None:
        insist_on_choice(self.method, CALIBRATORS, where="--calibrator")
        insist_on_choice(self.tool, QUANTIZERS, where="--quantizer")
