"""The first weights of a stage: an earlier stage's, or a file's, and the account of it on disk.

A stage that ran in this process is asked itself; one that ran before the run was resumed has left
its last checkpoint. The log gets one line, `handover/<stage>.json` in the run folder all names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.hand_over import FOLDER, Wish, hand_over
from cvtrainer.experiment.run_checkpoints import newest_checkpoint, weights_at
from cvtrainer.jobs.stages_done import StagesDone
from cvtrainer.protocols import State
from cvtrainer.trainer import Trainer

Stage = Mapping[str, Any]


def source_stage(stage: Stage, stages: Sequence[Stage]) -> str | None:
    """The stage whose weights this one takes over; None where it starts fresh or from a file."""
    block = stage["init_from"]
    if not block:
        return None
    names = [str(one["name"]) for one in stages]
    earlier = _earlier(stage, stages)
    source = str(block["source"])
    if source == "previous":
        if not earlier:
            raise UserError("init_from: previous, but there is no stage before this one")
        return earlier[-1]
    return source if source in names else None


def needed_later(stage: Stage, stages: Sequence[Stage]) -> bool:
    """Whether a later stage needs what this one leaves."""
    return any(stage["name"] in sources(one, stages) for one in stages)


def sources(stage: Stage, stages: Sequence[Stage]) -> set[str]:
    """The earlier stages whose weights this one takes over, or whose networks it asks."""
    own = source_stage(stage, stages)
    named = _weights_named(stage["task"]).intersection(_earlier(stage, stages))
    return named if own is None else {own, *named}


def left_by(
    stage: Stage,
    stages: Sequence[Stage],
    *,
    left: Mapping[str, State],
    run: RunFolder | None,
    say: Callable[[str], None],
) -> Callable[[str], State | None]:
    """What each stage before this one has left; None for a name that is no such stage."""
    earlier = _earlier(stage, stages)

    def of(name: str) -> State | None:
        if name not in earlier:
            return None
        return left[name] if name in left else _saved(name, stages, run, say)

    return of


def what_is_left(trainer: Trainer) -> State:
    """Weights and averages of a stage that is over, in host memory."""
    state = trainer.state_dict()
    averages = {
        name: {"averaged_weights": _on_host(kept["averaged_weights"])}
        for name, kept in state["hooks"].items()
        if isinstance(kept, Mapping) and "averaged_weights" in kept
    }
    clock = dict(state["clock"])
    return {"clock": clock, "networks": _on_host(state["networks"]), "hooks": averages}


def take_over(
    trainer: Trainer,
    stage: Stage,
    stages: Sequence[Stage],
    *,
    left: Mapping[str, State],
    run: RunFolder | None,
    say: Callable[[str], None],
) -> None:
    """Fill the stage's networks as `init_from` says; `left` is what stages of this process left."""
    block = stage["init_from"]
    source = f"init_from: {block['source']}"
    state = left_by(stage, stages, left=left, run=run, say=say)(
        source_stage(stage, stages) or ""
    ) or weights_at(Path(block["source"]), say)
    found = hand_over(trainer.networks, state, Wish.read(block), source=source)
    account: Path | None = None
    if run is not None and trainer.world.rank == 0:
        account = found.write(run.path / FOLDER / f"{stage['name']}.json")
    todo = "Take the model they were trained with, or what fits: strict: false."
    if account is not None and found.problems:
        todo += f" All names are in {account}."
    found.insist(todo)
    say(found.summary() + (f" ({account.name} has all names)" if account is not None else ""))


def _saved(
    wanted: str, stages: Sequence[Stage], run: RunFolder | None, say: Callable[[str], None]
) -> State:
    """The end of a stage that ran before."""
    found = newest_checkpoint(run, stages, say, stage=wanted) if run is not None else None
    if found is None or run is None:
        raise UserError(
            f"the weights of {wanted} are wanted, and that stage has left no checkpoint",
            todo="Run it first, or name a file.",
        )
    path, state = found
    if not StagesDone(run).is_end(wanted, state):
        say(f"{path}: stage {wanted} went further than this, but its end is not kept")
    return state


def _earlier(stage: Stage, stages: Sequence[Stage]) -> list[str]:
    names = [str(one["name"]) for one in stages]
    return names[: names.index(stage["name"])]


def _weights_named(node: Any) -> set[str]:
    """Every `weights` below a task's node."""
    if isinstance(node, Mapping):
        own = {value for key, value in node.items() if key == "weights" and isinstance(value, str)}
        return own.union(*(_weights_named(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(_weights_named(value) for value in node))
    return set()


def _on_host(value: Any) -> Any:
    """The same names with tensors that keep no device occupied."""
    if isinstance(value, Mapping):
        return {name: _on_host(part) for name, part in value.items()}
    return value.detach().cpu() if isinstance(value, Tensor) else value
