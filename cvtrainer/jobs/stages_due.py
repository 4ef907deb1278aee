"""Which stages of a run are still to be trained, and from where.

A resumed run goes on in the stage of its checkpoint. Where that stage was over, with the settings
it has now, the next one begins; where it was the last one, nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.core.suggest import nearest
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.ddp.world import World
from cvtrainer.jobs.resume import Start
from cvtrainer.jobs.stages_done import StagesDone, full_length

Stage = Mapping[str, Any]


def stages_due(
    stages: Sequence[Stage],
    start: Start | None,
    run: RunFolder,
    world: World,
    say: Callable[[str], None],
    only: str | None = None,
) -> list[tuple[Stage, Start | None]]:
    """The stages in their order, the first with its start if it goes on; `only` names one."""
    due = [stage for stage in stages if only in (None, stage["name"])]
    if start is None:
        return [(stage, None) for stage in due]
    names = [str(stage["name"]) for stage in due]
    if start.stage not in names:
        raise UserError(
            f"it is from stage {start.stage!r}; this config has {', '.join(names)}",
            where=str(start.path),
        )
    first, *later = due[names.index(start.stage) :]
    # An early end may have been somebody's decision of that moment; the last stage asks again.
    over = StagesDone(run).is_over(first, start.state) and (
        bool(later) or full_length(first, start.state)
    )
    if not broadcast_object(over, world):  # the first rank changes the notes before long
        return [(first, start), *((stage, None) for stage in later)]
    place = f"epoch {start.state['clock']['epoch']}, step {start.state['clock']['step']}"
    if later:
        say(f"stage {start.stage} is over ({place}); going on with {later[0]['name']}")
    else:
        say(
            f"stage {start.stage} is finished ({place}, {start.path}) and nothing is left to "
            "train; with more epochs it would go on from there"
        )
    return [(stage, None) for stage in later]


def check_stage(name: str | None, stages: Sequence[Stage]) -> None:
    """An error if a stage is named that is not there."""
    names = [str(stage["name"]) for stage in stages]
    if name is not None and name not in names:
        near = nearest(name, names)
        raise UserError(
            f"there is no stage {name!r}",
            where="--stage",
            todo=f"Did you mean {near}?" if near else f"There is {', '.join(names)}.",
        )
