"""`cvtrainer tune lr`: raise the learning rate over a few steps of the real stage, see what helps.

Parameter groups keep their ratios; the loss of each optimizer step is recorded with the rate of
the group that the config's `lr` sets. The test ends where the loss diverges. Nothing of the
project is changed: a table and a picture are written into a folder of their own.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_whole
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs.tune.chart import Line, draw_chart
from cvtrainer.jobs.tune.curve import Average, Watch, smoothed, suggest
from cvtrainer.jobs.tune.subject import Config, Subject, built, find_subject, to_stderr
from cvtrainer.trainer import Trainer

Mode = Literal["exponential", "linear"]


@dataclass(frozen=True)
class Ramp:
    """From the lowest to the highest rate in so many steps."""

    lowest: float = 1e-7
    highest: float = 10.0
    steps: int = 100
    mode: Mode = "exponential"

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest < math.inf:
            raise UserError(
                f"the rates go from {self.lowest:g} to {self.highest:g}",
                where="tune lr",
                todo="Give --min above 0 and --max above that.",
            )
        if self.steps < 10:
            raise UserError(
                f"{self.steps} steps make no curve", where="tune lr", todo="Give 10 or more."
            )
        if self.mode not in ("exponential", "linear"):
            raise UserError(
                f"mode is {self.mode!r}", where="tune lr", todo="Use exponential or linear."
            )

    def rate(self, step: int) -> float:
        """The rate of that step, counted from 0."""
        share = step / (self.steps - 1)
        if self.mode == "linear":
            return self.lowest + share * (self.highest - self.lowest)
        return float(self.lowest * (self.highest / self.lowest) ** share)


@dataclass
class LRRange:
    """What the test found; rates are those of the config's `lr`."""

    stage: str
    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool
    steepest: float | None = None
    valley: float | None = None
    overrides: tuple[str, ...] = ()
    files: list[Path] = field(default_factory=list)


def lr_range(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    update: str | None = None,
    ramp: Ramp | None = None,
    folder: str | Path | None = None,
    say: Callable[[str], None] = to_stderr,
) -> LRRange:
    """Run the test; `update` names the optimizer to raise where a task has several."""
    ramp = ramp or Ramp()
    subject = find_subject(config, overrides, stage=stage)
    for note in subject.notes:
        say(note)
    hook = _RampHook(ramp, update)
    with built(subject, hooks=[hook]) as trainer:
        rarest = max(one.every for one in trainer.task.updates())
        trainer.train(math.ceil(ramp.steps * rarest / trainer.steps_per_epoch))
    curve = smoothed(hook.losses)
    found = LRRange(subject.name, hook.rates, hook.losses, curve, hook.diverged)
    by_decade = ramp.mode == "exponential"
    suggestion = suggest(found.rates, curve, by_decade=by_decade)
    found.steepest, found.valley = suggestion.steepest, suggestion.valley
    if found.steepest is not None:
        found.overrides = tuple(_overrides(subject, found.steepest))
    found.files = _write(found, subject, folder, by_decade=by_decade)
    return found


class _RampHook(BaseHook):
    """Sets the rate of each step and records its loss, until the loss diverges."""

    rank: ClassVar[Rank] = Rank.ADVANCE
    name = "lr_range"

    def __init__(self, ramp: Ramp, update: str | None) -> None:
        self._ramp = ramp
        self._update = update
        self._ratios: list[tuple[dict[str, Any], float]] = []
        self._average = Average()
        self._watch = Watch()
        self._parts: list[Tensor] = []
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.diverged = False

    def before_train(self, stage: StageView) -> None:
        optimizers = _chosen(stage.trainer, self._update)
        reference = _reference(optimizers[0])
        self._ratios = [
            (group, float(group["lr"]) / reference)
            for optimizer in optimizers
            for group in optimizer.param_groups
        ]
        self._set(0)

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train":
            return
        loss_here = _loss(stage, self._update)
        if loss_here is not None:
            self._parts.append(loss_here)
        if not stage.clock.stepped or not self._parts:
            return
        loss = sum(float(part) for part in self._parts) / len(self._parts)
        self._parts.clear()
        self.rates.append(self._ramp.rate(len(self.rates)))
        self.losses.append(loss)
        if self._watch.diverged(self._average.add(loss)):
            self.diverged = True
        if self.diverged or len(self.rates) == self._ramp.steps:
            stage.trainer.stop()
        else:
            self._set(len(self.rates))

    def _set(self, step: int) -> None:
        rate = self._ramp.rate(step)
        for group, ratio in self._ratios:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * ratio)
            else:
                group["lr"] = rate * ratio


def _chosen(trainer: Trainer, update: str | None) -> list[Optimizer]:
    """The optimizers whose rates are raised: all of them, or that of one update."""
    if update is None:
        return list(trainer.optimizers.values())
    if update not in trainer.optimizers:
        raise UserError(
            f"there is no update {update!r}",
            where="--update",
            todo=f"There is {', '.join(trainer.optimizers)}.",
        )
    return [trainer.optimizers[update]]


def _reference(optimizer: Optimizer) -> float:
    """The rate that the config's `lr` sets; each group's ratio is taken to it."""
    rate = float(optimizer.defaults["lr"])
    if not rate > 0:
        raise UserError(
            f"lr is {rate:g}, so the groups have no ratios to keep",
            where="optimizer.lr",
            todo="Give it a value above 0; the test replaces it.",
        )
    return rate


def _loss(stage: StageView, update: str | None) -> Tensor | None:
    """The loss of this batch, or that of one update of several; None where it was not due."""
    several = len(stage.trainer.optimizers) > 1
    value = stage["losses"].get(update) if several and update is not None else stage["loss"]
    assert value is None or isinstance(value, Tensor)
    return None if value is None else value.detach()


def _overrides(subject: Subject, rate: float) -> list[str]:
    """What to add to a command line so that every group gets its share of this rate."""
    node: Mapping[str, Any] = subject.stage["optimizer"]
    place = f"stages.{subject.name}.optimizer"
    words = [f"{place}.lr={rate:.3g}"]
    written = (node.get("kwargs") or {}).get("lr")
    for part, own in (node.get("layerwise") or {}).items():
        if written:
            name = json.dumps(part) if "." in part else part
            words.append(f"{place}.layerwise.{name}={rate * own / written:.3g}")
    return words


def _write(
    found: LRRange, subject: Subject, folder: str | Path | None, *, by_decade: bool
) -> list[Path]:
    """The table and the picture."""
    if folder is None:
        config = subject.config
        stem = f"{config['name']}_lr_range_{datetime.now():%Y-%m-%d_%H-%M-%S}"
        folder = Path("runs") / str(config["project"]) / stem
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "lr", "loss", "smoothed_loss"])
    rows = zip(found.rates, found.losses, found.smoothed, strict=True)
    for step, (rate, loss, value) in enumerate(rows, start=1):
        writer.writerow([step, f"{rate:.6g}", f"{loss:.6g}", f"{value:.6g}"])
    files = [Path(folder) / "lr_range.csv", Path(folder) / "lr_range.png"]
    write_whole(files[0], text.getvalue())
    marks = {"steepest": found.steepest, "valley": found.valley}
    picture = draw_chart(
        found.rates,
        [Line("loss", found.losses, faint=True), Line("smoothed", found.smoothed)],
        title=f"learning rate range test: {subject.config['name']}, stage {found.stage}",
        across="learning rate",
        marks={name: rate for name, rate in marks.items() if rate is not None},
        by_decade=by_decade,
    )
    write_whole(files[1], picture)
    return files
