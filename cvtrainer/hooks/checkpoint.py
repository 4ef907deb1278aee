"""Saves checkpoints: every so many epochs or steps, the best one, and the last.

Names are fixed: `checkpoint_epoch_10.pth`, `checkpoint_step_500.pth`, `best_model.pth`,
`last.pth`. The hook only asks; the trainer writes at the next border, so a file always holds a
position from which the run can go on. Files of another run in the folder are moved aside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.engine.checkpoint import move_strangers_aside
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.judging import is_better, judged_metric, metrics_there

BEST = "best_model.pth"
LAST = "last.pth"
NAMES = (BEST, LAST, "checkpoint_epoch_*.pth", "checkpoint_step_*.pth")


class CheckpointHook(BaseHook):
    """Without `metric_name` the best is judged by accuracy where there is one, else by loss."""

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
    ) -> None:
        if mode not in (None, "max", "min"):
            raise UserError(f'hooks.checkpoint: mode is {mode!r}; it must be "max" or "min"')
        if max_keep is not None and max_keep < 1:
            raise UserError(f"hooks.checkpoint: max_keep is {max_keep}; keep at least 1")
        self.save_dir = save_dir
        self.save_freq = save_freq
        self.save_best = save_best
        self.metric_name = metric_name
        self.mode = mode
        self.save_steps = save_steps
        self.max_keep = max_keep
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._folder = Path()
        self._has_room = False
        self._kept: list[str] = []
        self._saved: tuple[int, bool] | None = None

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        self._folder = Path(self.save_dir or trainer.settings.checkpoints)
        if trainer.world.rank == 0 and not self._has_room:
            self._has_room = True  # training on in this process finds its own files only
            make_folder(self._folder)
            move_strangers_aside(
                self._folder,
                NAMES,
                run_id=trainer.run.run_id if trainer.run else None,
                stage=stage.name,
                say=trainer.say,
            )

    def after_step(self, stage: StageView) -> None:
        if self.save_steps and stage.phase == "train" and stage.step % self.save_steps == 0:
            self._ask(stage, f"checkpoint_step_{stage.step}.pth", periodic=True)

    def after_epoch(self, stage: StageView) -> None:
        if self.save_freq and stage.epoch % self.save_freq == 0:
            self._ask(stage, f"checkpoint_epoch_{stage.epoch}.pth", periodic=True)

    def after_eval(self, stage: StageView) -> None:
        training = "epochs" in stage
        if not (self.save_best and training and stage.phase == "val"):
            return
        name = self._metric(stage)
        if name is None:
            self.save_best = False
            stage.trainer.say(
                f"{BEST} is not kept: hooks.checkpoint.metric_name must say what it is judged by; "
                f"there is {metrics_there(stage)}"
            )
            return
        value = stage["metrics"][name]
        if is_better(value, self.best, metric=name, mode=self.mode, stage=stage):
            self.best, self.best_epoch = value, stage.epoch
            self._ask(stage, BEST, periodic=False)

    def before_save(self, stage: StageView) -> None:
        if stage["checkpoint_path"].name != BEST:
            self._saved = _position(stage)

    def after_save(self, stage: StageView) -> None:
        if stage.trainer.world.rank or not self.max_keep:
            return
        while len(self._kept) > self.max_keep:
            (self._folder / self._kept.pop(0)).unlink(missing_ok=True)

    def after_train(self, stage: StageView) -> None:
        if not stage.context.has("exception") and self._saved != _position(stage):
            self._ask(stage, LAST, periodic=False)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "kept": list(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._kept = list(state["kept"])

    def _ask(self, stage: StageView, name: str, *, periodic: bool) -> None:
        stage.trainer.request_save(self._folder / name)
        if periodic and name not in self._kept:
            self._kept.append(name)

    def _metric(self, stage: StageView) -> str | None:
        """None where the config names none and neither of the usual two is measured."""
        metrics = stage["metrics"]
        if self.metric_name is None:
            return next((name for name in ("val/accuracy", "val/loss") if name in metrics), None)
        return judged_metric(self.metric_name, stage, where="hooks.checkpoint.metric_name")


def _position(stage: StageView) -> tuple[int, bool]:
    """The step, and whether the end of its epoch is behind it."""
    return stage.step, stage.clock.closed
