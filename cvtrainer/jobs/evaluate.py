"""Evaluate a checkpoint on a split: every meter, no training, nothing written.

Also `cvtrainer.evaluate(config)`. The averaged weights are used where training kept an average,
because they are what training itself evaluated.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import joined_world
from cvtrainer.engine.hand_over import Wish, hand_over
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.engine.weight_files import read_weights
from cvtrainer.experiment import Experiment, Surroundings


def evaluate(
    config: str | Path | Mapping[str, Any],
    *,
    checkpoint: str | Path | None = None,
    overrides: Sequence[str] = (),
    split: str | None = None,
) -> dict[str, float]:
    """Metrics of the split, named `<split>/<meter>`; the last stage that has the split counts."""
    compiled = compile_config(config, overrides, purpose="eval")
    stage, phase = _stage_with_split(compiled.resolved["stages"], split)
    path = checkpoint or stage.get("checkpoint")
    if path is None:
        raise UserError(
            "no checkpoint to evaluate", todo="Give --checkpoint FILE or write checkpoint: FILE."
        )
    state = read_weights(Path(path))
    with joined_world(str(compiled.resolved["device"])) as world:
        seed_everything(compiled.resolved["seed"])
        around = Surroundings(
            run=None,
            world=world,
            seed=compiled.resolved["seed"],
            device=compiled.resolved["device"],
            classes=state.get("classes"),
            learnt=state.get("learnt"),
            phases=(phase,),
            say=_to_stderr,
        )
        trainer = Experiment(compiled.path).trainer({**stage, "hooks": []}, around)
        hand_over(trainer.networks, state, Wish(), source=str(path)).insist()
        for note in compiled.notes:
            _to_stderr(note)
        try:
            return trainer.evaluate(phase)
        finally:
            for stream in trainer.streams.values():
                stream.close()


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _stage_with_split(
    stages: Sequence[Mapping[str, Any]], split: str | None
) -> tuple[Mapping[str, Any], str]:
    for stage in reversed(stages):
        wanted = split or stage["eval_split"]
        if (stage.get("dataloader") or {}).get(wanted):
            return stage, wanted
    wanted = split or stages[-1]["eval_split"]
    known = sorted({name for stage in stages for name in stage.get("dataloader") or {}})
    raise UserError(
        f"no stage has a split {wanted!r}",
        where="dataloader",
        todo=f"There is {', '.join(known) or 'none'}; choose one with eval_split.",
    )
