"""Learning rates after a resume: as they were saved, or the config's own again.

`keep` goes on with rates and schedules as they were saved, whatever the config says by now.
`initial` takes the rates that the config gives, a number takes that one as the optimizer's rate
(the others keep their ratio to it); in both cases schedules begin anew, over what is left to train.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from cvtrainer.hooks import LRSchedulerHook
from cvtrainer.trainer import Trainer

KEEP = "keep"
INITIAL = "initial"

_RATES = ("lr", "initial_lr", "max_lr", "min_lr")
_MOVED = (*_RATES, "momentum", "initial_momentum", "base_momentum", "max_momentum", "betas")
"""What schedules write into an optimizer's groups."""

Rates = dict[str, list[dict[str, Any]]]


def rates_of(trainer: Trainer) -> Rates:
    """What the config gave each optimizer's groups; to be asked before a state is loaded."""
    return {
        update: [
            {key: _plain(group[key]) for key in _MOVED if key in group}
            for group in optimizer.param_groups
        ]
        for update, optimizer in trainer.optimizers.items()
    }


def set_rates(
    trainer: Trainer, wanted: str | float, fresh: Rates, say: Callable[[str], None]
) -> None:
    """Replace the loaded rates and let schedules begin anew, unless they are to be kept."""
    if wanted == KEEP:
        return
    told: list[float] = []
    for update, optimizer in trainer.optimizers.items():
        own = float(optimizer.defaults["lr"])
        factor = 1.0 if wanted == INITIAL else float(wanted) / own
        for group, begun in zip(optimizer.param_groups, fresh[update], strict=True):
            for key in _MOVED:
                if key in begun:
                    _put(group, key, begun[key] * factor if key in _RATES else begun[key])
                else:
                    group.pop(key, None)
            told.append(float(group["lr"]))
    for hook in trainer.hooks.values():
        if isinstance(hook, LRSchedulerHook):
            hook.start_over(trainer.clock)
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(told))
    say(f"resume_lr: {wanted}: the learning rate is {rates} again; schedules begin anew")


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Tensor) else value


def _put(group: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(group.get(key), Tensor):
        group[key].fill_(value)
    else:
        group[key] = value
