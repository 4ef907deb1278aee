"""What has been gathered of a step that is not complete: kept apart per update, saved and resumed.

With one update it lies where torch gathers it, in `grad`. With several, the backward pass of one
may reach networks that belong to another; without groups the other one clears that before it
begins, in the middle of a group it must not, so each update takes up and lays down its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.optim import Optimizer

from cvtrainer.ddp.pieces import cut_like
from cvtrainer.protocols import State


class PartialGradients:
    """Parameters are known by their places in the optimizer of the update."""

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self._parameters = {
            name: [one for group in optimizer.param_groups for one in group["params"]]
            for name, optimizer in optimizers.items()
        }
        self._separate = len(self._parameters) > 1
        self._laid_down: dict[str, list[Tensor | None]] = {}

    def take_up(self, update: str) -> None:
        """What this update has gathered so far, and nothing else, is in `grad` from now on."""
        own = self._parameters[update]
        gathered = self._laid_down.pop(update, None) or [None] * len(own)
        for parameter, gradient in zip(own, gathered, strict=True):
            parameter.grad = gradient

    def lay_down(self, update: str) -> None:
        own = self._parameters[update]
        self._laid_down[update] = [parameter.grad for parameter in own]
        for parameter in own:
            parameter.grad = None

    def state_dict(self) -> State:
        return {
            name: {str(place): one for place, one in enumerate(gathered) if one is not None}
            for name, gathered in self._gathered().items()
        }

    def load_state_dicts(self, states: Sequence[State]) -> None:
        """This rank's own, or those of all ranks there were: their mean counts on each of these."""
        for name, own in self._parameters.items():
            means = [_mean(states, name, str(place)) for place in range(len(own))]
            gathered = [
                None if mean is None else cut_like(mean, parameter).to(parameter)
                for mean, parameter in zip(means, own, strict=True)
            ]
            if self._separate:
                self._laid_down[name] = gathered
                continue
            for parameter, gradient in zip(own, gathered, strict=True):
                parameter.grad = gradient

    def _gathered(self) -> Mapping[str, list[Tensor | None]]:
        if self._separate:
            return self._laid_down
        return {name: [one.grad for one in own] for name, own in self._parameters.items()}


def _mean(states: Sequence[State], update: str, place: str) -> Tensor | None:
    found = [state[update][place] for state in states if place in state.get(update, {})]
    if not found:
        return None
    total: Tensor = found[0].clone()
    for further in found[1:]:
        total += further
    return total / len(states) if len(states) > 1 else total
