"""Takes a saved state back into the parts of a stage, or says in one line what does not fit.

Networks, optimizers and what the task itself keeps must fit exactly. The training metrics of an
epoch that was under way are given up, aloud, where meters have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn
from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import cut_optimizer_state
from cvtrainer.ddp.world import World
from cvtrainer.engine.clock import Clock
from cvtrainer.engine.recorder import Recorder
from cvtrainer.engine.weights import load_weights
from cvtrainer.protocols import State, Stateful, Task


def load_parts(
    task: Task,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    state: State,
    *,
    source: str,
) -> None:
    """Networks, optimizers, and what the task keeps besides (a criterion's running values, say)."""
    for kind, own in (("networks", networks), ("optimizers", optimizers)):
        missing = [name for name in own if name not in state[kind]]
        if missing:
            raise UserError(
                f"{source}: none of its {kind} is named {', '.join(missing)}; "
                f"it holds {', '.join(state[kind]) or 'none'}"
            )
    for name, network in networks.items():
        load_weights(network, state["networks"][name], source=source)
    for name, optimizer in optimizers.items():
        try:
            saved = cut_optimizer_state(optimizer, state["optimizers"][name])
            optimizer.load_state_dict(saved)
        except ValueError as error:
            raise UserError(
                f"{source}: the optimizer's state does not fit ({error})",
                todo="Resume with the optimizer and layerwise rates it was saved with.",
            ) from error
    if isinstance(task, Stateful) and "task" in state:
        task.load_state_dict(state["task"])


def load_meters(
    recorder: Recorder,
    states: list[State],
    world: World,
    clock: Clock,
    say: Callable[[str], None],
) -> None:
    """This rank's meters; where there were other ranks, the first takes what all had counted."""
    changed = next((found for state in states if (found := recorder.what_changed(state))), None)
    if changed is None:
        try:
            if len(states) == world.world_size:
                recorder.load_state_dict(states[world.rank])
            elif world.rank == 0:
                recorder.merge(states)
        except UserError as error:
            recorder.reset()
            changed = error.what
    if changed is not None and not clock.closed:
        say(
            f"resume: {changed} in the middle of epoch {clock.epoch}; "
            "its training metrics count from here on only"
        )
