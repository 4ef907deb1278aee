"""Saves checkpoints: every so many epochs or steps, the best ones, and the last.

The hook only asks; the trainer copies the state at the next border, so a file always holds a
position from which the run can go on, and writes it while training goes on. Names are templates.
Files of another run in the folder are moved aside, and older ones go once a newer one is whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_whole
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.engine.checkpoint import followed, move_strangers_aside
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.checkpoint_names import CheckpointNames
from cvtrainer.hooks.judging import is_better, judged_metric, metrics_there
from cvtrainer.hooks.kept_files import KeptFiles


class CheckpointHook(BaseHook):
    """Without `metric_name` the best is judged by accuracy where there is one, else by loss.

    `save_last`: true keeps a file of the newest state at all times, "end" writes it at the end,
    "needed" only where no periodic file holds the end, false only where a run ends early.
    """

    rank: ClassVar[Rank] = Rank.SAVE

    def __init__(
        self,
        save_dir: str | None = None,
        save_freq: int = 1,
        save_best: bool = False,
        metric_name: str | None = None,
        mode: Literal["max", "min"] | None = None,
        save_steps: int | None = None,
        max_keep: int | None = None,
        save_top_k: int | None = None,
        save_last: bool | Literal["end", "needed"] = "needed",
        names: Mapping[str, str] | None = None,
        asynchronous: bool = True,
    ) -> None:
        if mode not in (None, "max", "min"):
            raise UserError(f'hooks.checkpoint: mode is {mode!r}; it must be "max" or "min"')
        if max_keep is not None and max_keep < 1:
            raise UserError(f"hooks.checkpoint: max_keep is {max_keep}; keep at least 1")
        if save_top_k is not None and save_top_k < 0:
            raise UserError(
                f"hooks.checkpoint: save_top_k is {save_top_k}; it must not be negative"
            )
        if save_last not in (True, False, "end", "needed"):
            raise UserError(
                f"hooks.checkpoint: save_last is {save_last!r}; "
                'it must be true, "end", "needed" or false'
            )
        self.save_dir = save_dir
        self.save_freq = save_freq
        self.save_top_k = int(save_best) if save_top_k is None else save_top_k
        self.metric_name = metric_name
        self.mode = mode
        self.save_steps = save_steps
        self.max_keep = max_keep
        self.save_last = save_last
        self.names = CheckpointNames.of(names, best_kept=self.save_top_k)
        self.asynchronous = asynchronous
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._judges = True
        self._files = KeptFiles()
        self._has_room = False
        self._saved: _Position | None = None
        self._last_saved: _Position | None = None

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        self._files.folder = Path(self.save_dir or trainer.settings.checkpoints)
        if trainer.world.rank == 0 and not self._has_room:
            self._has_room = True  # training on in this process finds its own files only
            self._make_room(stage)
        self._make_up(stage)

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train" or not self.save_steps or not stage.stepped:
            return
        if stage.step % self.save_steps == 0:
            self._ask_periodic(stage, "step")

    def after_epoch(self, stage: StageView) -> None:
        if self.save_freq and stage.epoch % self.save_freq == 0:
            self._ask_periodic(stage, "epoch")
        elif self.save_last is True:
            self._ask_last(stage)

    def after_eval(self, stage: StageView) -> None:
        if stage.phase != "val" or "epochs" not in stage:
            return
        if self.save_last is True:
            self._ask_last(stage)
        if not self.save_top_k or not self._judges:
            return
        metric = self._metric(stage)
        if metric is None:
            self.save_top_k = 0
            stage.trainer.say(
                f"{self.names.best} is not kept: hooks.checkpoint.metric_name must say what it is "
                f"judged by; there is {metrics_there(stage)}"
            )
            return
        self._judge(stage, metric, stage["metrics"][metric])

    def leave_judging(self, *, anew: bool) -> None:
        """Somebody else says what is best, by `keep_best`; one is kept at least.

        With `anew`, what has been the best so far was judged otherwise and counts no more.
        """
        self._judges = False
        if anew:
            self.best = self.best_epoch = None
            self._files.best = []
        self.save_top_k = max(1, self.save_top_k)

    def keep_best(self, stage: StageView, metric: str, value: float) -> None:
        """Save at the next border if this value is among the best; all processes do so."""
        self._judge(stage, metric, value)

    def before_save(self, stage: StageView) -> None:
        name = stage["checkpoint_path"].name
        if not self._files.is_best(name):
            self._saved = _position(stage)
        if name == self.names.file("last", stage):
            self._last_saved = _position(stage)

    def after_save(self, stage: StageView) -> None:
        path: Path = stage["checkpoint_path"]
        if path.parent != self._files.folder:
            return
        first = stage.trainer.world.rank == 0
        if first and self.names.marker is not None and not self._files.is_best(path.name):
            write_whole(path.with_name(self.names.file("marker", stage)), path.name)
        self._files.is_whole(path.name, remove=first)

    def after_train(self, stage: StageView) -> None:
        if stage.context.has("exception"):
            return
        here = _position(stage)
        if self.save_last in (True, "end"):
            missing = self._last_saved != here
        else:
            missing = self._saved != here and (self.save_last == "needed" or _is_early(stage))
        if missing:
            self._ask_last(stage)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, **self._files.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._files.load_state_dict(state)
        if self.best is not None and "best_files" not in state:
            self._files.best = [(self.best, self.names.best)]

    def _make_room(self, stage: StageView) -> None:
        trainer, folder = stage.trainer, make_folder(self._files.folder)
        move_strangers_aside(
            folder,
            self.names.pattern(stage),
            run_id=trainer.run.run_id if trainer.run else None,
            stage=stage.name,
            say=trainer.say,
        )
        if self.names.marker is not None:
            marker = folder / self.names.file("marker", stage)
            named = followed(marker)
            if named != marker and not named.exists():
                marker.unlink()

    def _make_up(self, stage: StageView) -> None:
        """After a resume: ask again for what did not become whole, remove what should have gone."""
        asked = self._files.asked_before_resuming()
        if not asked:
            return
        world = stage.trainer.world
        owed = broadcast_object(self._files.owed(stage) if world.rank == 0 else None, world)
        for name in asked:
            if name in owed:
                self._request(stage, name)
            else:
                self._files.is_whole(name, remove=world.rank == 0)

    def _judge(self, stage: StageView, metric: str, value: float) -> None:
        def better(one: float, other: float) -> bool:
            return is_better(one, other, metric=metric, mode=self.mode, stage=stage)

        if is_better(value, self.best, metric=metric, mode=self.mode, stage=stage):
            self.best, self.best_epoch = value, stage.epoch
        elif math.isnan(value):
            return
        name = self.names.file("best", stage, value=value)
        if self._files.add_best(name, value, better, at_most=self.save_top_k):
            self._request(stage, name)

    def _ask_periodic(self, stage: StageView, kind: str) -> None:
        name = self.names.file(kind, stage)
        self._files.add_periodic(name, at_most=self.max_keep)
        self._request(stage, name)
        if self.save_last is True:
            self._ask_last(stage)

    def _ask_last(self, stage: StageView) -> None:
        name = self.names.file("last", stage)
        self._files.add(name)
        self._request(stage, name)

    def _request(self, stage: StageView, name: str) -> None:
        stage.trainer.request_save(self._files.folder / name, wait=not self.asynchronous)

    def _metric(self, stage: StageView) -> str | None:
        """None where the config names none and neither of the usual two is measured."""
        metrics = stage["metrics"]
        if self.metric_name is None:
            return next((name for name in ("val/accuracy", "val/loss") if name in metrics), None)
        return judged_metric(self.metric_name, stage, where="hooks.checkpoint.metric_name")


_Position = tuple[int, bool]


def _position(stage: StageView) -> _Position:
    """How far the run is, and whether the end of its epoch is behind it."""
    return stage.clock.batches, stage.clock.closed


def _is_early(stage: StageView) -> bool:
    """Whether the stage ends before the epochs and steps that were asked for."""
    limit = stage.trainer.settings.max_steps
    reached = limit is not None and stage.step >= limit
    return not reached and stage.clock.epochs_done < stage["epochs"]
