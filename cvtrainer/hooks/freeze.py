"""Keeps parts of a network as they are, for good or until the end of an epoch.

What learns is a function of the epoch alone, so a resumed run needs no memory of it. Frozen
parameters get no gradients, and without one an optimizer applies neither momentum nor weight
decay; the optimizer knows them all along and takes them up when they thaw. Where a network is
wrapped for several processes, gradients are dropped after their exchange, which counts on all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from cvtrainer.core.durations import Unit, parse_duration
from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class FreezeHook(BaseHook):
    """`schedule` gives each of its parts an end of its own; the longest name that fits counts."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        parts: Sequence[str] = (),
        until: int | str | None = None,
        schedule: Mapping[str, int | str] | None = None,
        batch_norm: Literal["freeze", "train"] = "freeze",
    ) -> None:
        if batch_norm not in ("freeze", "train"):
            raise UserError(
                f'hooks.freeze: batch_norm is {batch_norm!r}; it must be "freeze" or "train"'
            )
        names = [parts] if isinstance(parts, str) else list(parts)
        end = math.inf if until is None else _epochs(until, "until")
        self.ends: dict[str, float] = dict.fromkeys(names, end)
        """Each part with the number of epochs that it stays frozen."""
        for part, epochs in (schedule or {}).items():
            self.ends[part] = _epochs(epochs, f"schedule.{part}")
        if not self.ends:
            raise UserError("hooks.freeze: name what to freeze in parts or schedule")
        self.batch_norm = batch_norm
        self._parameters: list[tuple[nn.Parameter, float]] = []
        self._norms: list[tuple[nn.Module, float]] = []
        self._held: list[nn.Parameter] = []
        self._still: list[nn.Module] = []

    @property
    def still(self) -> Sequence[nn.Module]:
        """Layers whose statistics do not move in this epoch."""
        return self._still

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        networks = _by_full_name(trainer.networks)
        self._refuse_unknown(networks)
        ends: dict[nn.Parameter, float] = {}
        for name, parameter in _parameters(networks):
            if parameter.requires_grad:  # whoever froze it otherwise wants it to stay so
                ends[parameter] = max(ends.get(parameter, 0), self._end(name))
        self._parameters = [(one, end) for one, end in ends.items() if end]
        self._norms = [
            (module, self._end(name))
            for name, module in _modules(networks)
            if isinstance(module, _NormBase) and self.batch_norm == "freeze"
        ]
        epoch = stage.epoch + 1 if stage.clock.closed else stage.epoch
        self._freeze(stage, epoch)
        _refuse_nothing_to_learn(trainer, epoch, ends)

    def before_epoch(self, stage: StageView) -> None:
        self._freeze(stage, stage.epoch)
        thawed = [part for part, end in self.ends.items() if end and end == stage.epoch - 1]
        if thawed:
            stage.trainer.say(f"epoch {stage.epoch}: learning {', '.join(thawed)} from here on")

    def before_forward(self, stage: StageView) -> None:
        """The trainer has put whole networks into training mode; frozen statistics stay out."""
        if stage.phase == "train":
            for module in self._still:
                if module.training:
                    module.eval()

    def before_optimize(self, stage: StageView) -> None:
        for parameter in self._held:
            parameter.grad = None

    def after_train(self, stage: StageView) -> None:
        for parameter, _ in self._parameters:
            parameter.requires_grad_(True)
        self._parameters, self._norms, self._held, self._still = [], [], [], []

    def _freeze(self, stage: StageView, epoch: int) -> None:
        wrapped = stage.trainer.plan.wrap is not None
        self._held = []
        self._still = [module for module, end in self._norms if epoch <= end]
        for parameter, end in self._parameters:
            learns = epoch > end
            if not wrapped:
                parameter.requires_grad_(learns)
            if not learns:
                self._held.append(parameter)

    def _end(self, name: str) -> float:
        """How many epochs the owner of this name stays frozen; 0 where it is in no part."""
        inside = [part for part in self.ends if name == part or name.startswith(f"{part}.")]
        return self.ends[max(inside, key=len)] if inside else 0

    def _refuse_unknown(self, networks: Mapping[str, nn.Module]) -> None:
        known = [name for name, _ in (*_modules(networks), *_parameters(networks)) if name]
        for part in self.ends:
            if part not in known:
                near = nearest(part, known)
                top = dict.fromkeys(name for name in known if "." not in name)
                raise UserError(
                    f"the model has no part {part!r}",
                    where="hooks.freeze",
                    todo=f"Did you mean {near}?" if near else f"Its parts are {', '.join(top)}.",
                )


def _epochs(value: int | str, where: str) -> int:
    duration = parse_duration(value)
    if duration.unit is not Unit.EPOCHS or not duration.amount.is_integer():
        raise UserError(f"hooks.freeze: {where} is {value}; it must be a whole number of epochs")
    return int(duration.amount)


def _by_full_name(networks: Mapping[str, nn.Module]) -> Mapping[str, nn.Module]:
    """Where there are several networks, names of their parts begin with theirs."""
    return {"": next(iter(networks.values()))} if len(networks) == 1 else networks


def _modules(networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for name, network in networks.items():
        yield from network.named_modules(prefix=name, remove_duplicate=False)


def _parameters(networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    for name, network in networks.items():
        yield from network.named_parameters(prefix=name, remove_duplicate=False)


def _refuse_nothing_to_learn(trainer: Any, epoch: int, ends: Mapping[nn.Parameter, float]) -> None:
    for update in trainer.task.updates():
        networks: Iterable[nn.Module] = (trainer.networks[name] for name in update.networks)
        own = [one for network in networks for one in network.parameters() if one in ends]
        if own and all(epoch <= ends[one] for one in own):
            raise UserError(
                f"hooks.freeze: nothing is left to learn in epoch {epoch} "
                f"for the update {update.name!r}; freeze less"
            )
