"""An exponential moving average of weights and buffers, used for evaluation.

Once per optimizer step `average = decay * average + (1 - decay) * weights`; counters and other
whole-number buffers are copied. Before an evaluation the average trades places with the weights,
after it they trade back. The average and its counter are saved and resumed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class EMAHook(BaseHook):
    """Works on any module, because it only looks at named parameters and buffers."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise UserError(f"hooks.ema: decay is {decay}; it must lie in [0, 1)")
        self.decay = decay
        self.updates = 0
        self._averages: dict[str, _Average] = {}
        self._loaded: dict[str, dict[str, Tensor]] = {}
        self._networks_of: dict[str, list[_Average]] = {}

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        known = self._loaded or {name: one.named() for name, one in self._averages.items()}
        self._loaded = {}
        self._averages = {
            name: _Average(network, known.get(name)) for name, network in trainer.networks.items()
        }
        self._networks_of = {
            update.name: [self._averages[name] for name in update.networks]
            for update in trainer.task.updates()
        }

    def after_optimize(self, stage: StageView) -> None:
        assert stage.update is not None
        for average in self._networks_of[stage.update]:
            average.follow(self.decay)
        self.updates += 1

    def before_eval(self, stage: StageView) -> None:
        for average in self._averages.values():
            average.trade_places()

    def after_eval(self, stage: StageView) -> None:
        for average in self._averages.values():
            average.trade_places()

    def state_dict(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "averaged_weights": {name: one.named() for name, one in self._averages.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
        self._loaded = state["averaged_weights"]


class _Average:
    """The averaged copy of one network's tensors; a tensor that has two names counts once."""

    def __init__(self, network: nn.Module, start: dict[str, Tensor] | None) -> None:
        tensors = dict(network.state_dict(keep_vars=True))
        unique = {id(tensor): tensor.detach() for tensor in tensors.values()}
        first_name = {id(tensor): name for name, tensor in reversed(tensors.items())}
        places = {key: place for place, key in enumerate(unique)}
        self._place_of = {name: places[id(tensor)] for name, tensor in tensors.items()}
        self._live = list(unique.values())
        self._average = [
            tensor.clone() if start is None else start[first_name[key]].to(tensor).clone()
            for key, tensor in unique.items()
        ]
        self._buffers = [
            (self._place_of[f"{path}.{name}" if path else name], module._buffers, name)
            for path, module in network.named_modules()
            for name in module._buffers
            if (f"{path}.{name}" if path else name) in self._place_of
        ]
        floating = [tensor.is_floating_point() for tensor in self._live]
        self._blended = [place for place, is_float in enumerate(floating) if is_float]
        self._copied = [place for place, is_float in enumerate(floating) if not is_float]

    def _look_again(self) -> None:
        """A network may have assigned a new tensor to a buffer instead of changing the old one."""
        for place, buffers, name in self._buffers:
            self._live[place] = buffers[name]

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        self._look_again()
        torch._foreach_lerp_(
            [self._average[place] for place in self._blended],
            [self._live[place] for place in self._blended],
            1.0 - decay,
        )
        for place in self._copied:
            self._average[place].copy_(self._live[place])

    @torch.no_grad()
    def trade_places(self) -> None:
        self._look_again()
        for live, average in zip(self._live, self._average, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)

    def named(self) -> dict[str, Tensor]:
        """The average under every name of `state_dict`."""
        return {name: self._average[place] for name, place in self._place_of.items()}
