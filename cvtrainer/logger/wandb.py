"""Weights & Biases: one W&B run for each stage of a run, continued when the stage is resumed.

The W&B run's id is made of the run folder's own id and the stage's name, so that nothing else has
to be remembered. W&B keeps what it has: steps that a resumed run makes once more are left out, as
their numbers are the same. Without a network use `mode: offline`; `wandb sync` uploads the folder
later.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

import yaml

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.protocols import LogRecord


class WandBLogger:
    """`project` and `name` are the run's own unless given; `dir` is the run folder.

    The rest that is None is left to wandb's own settings, its login and `WANDB_MODE` among them.
    """

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        dir: str | None = None,
        entity: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self.project = project
        self.name = name
        self.mode = mode
        self.dir = dir
        self.entity = entity
        self.tags = tags
        self._wandb: ModuleType | None = None
        self._known = 0
        _import_wandb()

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        wandb = _import_wandb()
        folder = run.path if self.dir is None else make_folder(self.dir)
        try:
            started = wandb.init(
                project=self.project or run.project or None,
                name=self.name or run.path.name,
                mode=self.mode,
                dir=str(folder.absolute()),  # the process that writes may stand elsewhere
                entity=self.entity,
                tags=self.tags,
                id=wandb_id(run.run_id, stage),
                group=run.path.name,
                job_type=stage,
                resume="allow" if resume_step is not None else None,
                config=_config_of(run),
            )
        except Exception as error:
            if not type(error).__module__.startswith("wandb."):
                raise
            raise UserError(
                f"W&B did not start ({error})",
                where="logger.wandb",
                todo="Log in with `wandb login`, or write mode: offline.",
            ) from error
        self._wandb = wandb
        self._known = int(getattr(started, "step", 0)) if resume_step is not None else 0

    def write(self, record: LogRecord) -> None:
        if self._wandb is not None and record.step >= self._known:
            self._wandb.log({**record.values, "epoch": record.epoch}, step=record.step)

    def message(self, text: str) -> None:
        """W&B collects what the console shows by itself."""

    def close(self) -> None:
        """Also after an exception, which W&B then shows as a failed run."""
        if self._wandb is not None:
            wandb, self._wandb = self._wandb, None
            if sys.exc_info()[0] is None:
                wandb.finish()
            else:
                wandb.finish(exit_code=1)


def wandb_id(run_id: str, stage: str) -> str:
    """The W&B run of a stage."""
    return f"{run_id}-{re.sub(r'[^A-Za-z0-9_-]', '-', stage)}"


def _import_wandb() -> ModuleType:
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            f"the wandb package is missing ({error})",
            where="logger.wandb",
            todo='Run: pip install "cvtrainer[wandb]", or leave this logger out.',
        ) from error
    module: ModuleType = wandb
    return module


def _config_of(run: RunFolder) -> Mapping[str, Any] | None:
    """The run's resolved config, shown beside its curves."""
    path = run.path / "config.yaml"
    if not path.is_file():
        return None
    config: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config
