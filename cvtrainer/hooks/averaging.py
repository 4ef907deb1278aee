"""Averaged copies of networks, which trade places with the weights while those are evaluated.

What is averaged how, and when, is up to the hook that owns them (a moving average, a plain mean);
here is what all of them need: tensors that have two names count once, buffers that a network
assigns anew are found again, and whole numbers are copied. An average that has not begun yet is
neither saved nor evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.core.durations import Duration
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import cut_like, in_pieces, local
from cvtrainer.engine.view import StageView


class Average:
    """The averaged copy of one network's tensors."""

    def __init__(
        self, network: nn.Module, start: Mapping[str, Tensor] | None, *, with_buffers: bool
    ) -> None:
        tensors = dict(network.state_dict(keep_vars=True))
        unique = {id(tensor): tensor for tensor in tensors.values()}
        first_name = {id(tensor): name for name, tensor in reversed(tensors.items())}
        places = {key: place for place, key in enumerate(unique)}
        self._place_of = {name: places[id(tensor)] for name, tensor in tensors.items()}
        self._live = [tensor.detach() for tensor in unique.values()]
        self._average = [
            tensor.detach().clone()
            if start is None
            else cut_like(start[first_name[key]], tensor).to(tensor).clone()
            for key, tensor in unique.items()
        ]
        self._buffers = [
            (self._place_of[f"{path}.{name}" if path else name], module._buffers, name)
            for path, module in network.named_modules()
            for name in module._buffers
            if (f"{path}.{name}" if path else name) in self._place_of
        ]
        blended = [
            tensor.is_floating_point() and (with_buffers or isinstance(tensor, nn.Parameter))
            for tensor in unique.values()
        ]
        self._blended = [place for place, blends in enumerate(blended) if blends]
        self._copied = [place for place, blends in enumerate(blended) if not blends]
        self._parts = local if any(in_pieces(one) for one in self._live) else list[Tensor]

    @torch.no_grad()
    def follow(self, share: float) -> None:
        """Move towards the weights by that share of the way; 1 is becoming them."""
        self._look_again()
        if share == 1.0:
            torch._foreach_copy_(self._parts(self._average), self._parts(self._live))
            return
        torch._foreach_lerp_(
            self._parts(self._average[place] for place in self._blended),
            self._parts(self._live[place] for place in self._blended),
            share,
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

    def _look_again(self) -> None:
        """A network may have assigned a new tensor to a buffer instead of changing the old one."""
        for place, buffers, name in self._buffers:
            self._live[place] = buffers[name]


class Averages:
    """The averages of a stage's networks, by name; `begun` are those that hold something."""

    def __init__(self, *, with_buffers: bool) -> None:
        self.begun: set[str] = set()
        self._with_buffers = with_buffers
        self._of: dict[str, Average] = {}
        self._loaded: dict[str, dict[str, Tensor]] = {}

    def prepare(self, networks: Mapping[str, nn.Module], *, begin: bool) -> None:
        """Copies of the networks, or what was known of them before; `begin` takes them as begun."""
        known = self.state()
        self._loaded = {}
        self._of = {
            name: Average(network, known.get(name), with_buffers=self._with_buffers)
            for name, network in networks.items()
        }
        self.begun = set(self._of) if begin else set(known)

    def follow(self, name: str, share: float) -> None:
        """Take the network's weights in by that share; the first time, as they are."""
        self._of[name].follow(share if name in self.begun else 1.0)
        self.begun.add(name)

    @property
    def in_use(self) -> bool:
        """Whether there is an average that evaluation uses."""
        return bool(self._of) and bool(self.begun)

    def trade_places(self) -> None:
        """Into the networks, or out of them again."""
        for name, average in self._of.items():
            if name in self.begun:
                average.trade_places()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Every average that has begun, under the names of its network's weights."""
        if self._loaded:
            return self._loaded
        return {name: one.named() for name, one in self._of.items() if name in self.begun}

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """What `prepare` begins with."""
        self._loaded = {name: dict(tensors) for name, tensors in state.items()}
        self.begun = set(self._loaded)


def refuse_another_average(stage: StageView) -> None:
    """Evaluation can use one average only; which one is for the config to say."""
    hooks: Mapping[str, Any] = stage.trainer.hooks
    averaging = [name for name, hook in hooks.items() if hasattr(hook, "averages")]
    if len(averaging) > 1:
        raise UserError(
            f"{' and '.join(averaging)} would both put their average in the place of the weights "
            "for evaluation; keep one of them",
            where="hooks",
        )


def steps_before(stage: StageView, start: Duration) -> int:
    """Optimizer steps of the stage that are over before `start`."""
    trainer = stage.trainer
    per_epoch: int = trainer.steps_per_epoch
    steps = stage["epochs"] * per_epoch
    limit = trainer.settings.max_steps
    total = steps if limit is None else min(steps, limit)
    return start.to_steps(steps_per_epoch=per_epoch, total_steps=total)
