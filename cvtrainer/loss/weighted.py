"""Several losses at once, each with a weight, and each reported by its name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cvtrainer.core.errors import UserError


class WeightedLosses(nn.Module):
    """The sum of named losses of the same output and target; a loss without a weight counts once.

    The parts are reported unweighted, so that changing a weight does not change their curves.
    """

    def __init__(
        self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        weights = dict(weights or {})
        if not losses:
            raise UserError("WeightedLosses: losses names none; give at least one")
        if "loss" in losses:
            raise UserError(
                'WeightedLosses: "loss" is the name of the sum; name the part otherwise'
            )
        unknown = [name for name in weights if name not in losses]
        if unknown:
            raise UserError(
                f"WeightedLosses: weights names {', '.join(unknown)}; there is {', '.join(losses)}"
            )
        self.losses = nn.ModuleDict(losses)
        self.weights = {name: float(weights.get(name, 1.0)) for name in losses}

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        parts = {name: loss(output, target) for name, loss in self.losses.items()}
        weighted = [self.weights[name] * part for name, part in parts.items()]
        total = weighted[0]
        for further in weighted[1:]:
            total = total + further
        return {"loss": total, **parts}
