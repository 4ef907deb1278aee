"""Everything that moves in a run, as one text per leaf; less what depends on the disk's speed."""

from __future__ import annotations

from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.jobs.verify_resume.digest import leaves
from cvtrainer.trainer import Trainer


def what_moves(trainer: Trainer) -> dict[str, str]:
    """The trainer's state; which files are still being written is no part of it."""
    state = trainer.state_dict()
    hooks = dict(state["hooks"])
    for name, hook in trainer.hooks.items():
        if isinstance(hook, CheckpointHook):
            hooks[name] = {key: one for key, one in hooks[name].items() if key != "asked"}
    kept = {key: part for key, part in state.items() if not key.startswith("run_")}
    return leaves({**kept, "hooks": hooks})
