"""Training that is not the real one: a few batches of everything, or the same batches to the end.

`--fast_dev_run` goes through every stage and phase, saves, and resumes what it saved. `--overfit`
asks whether the network can learn a handful of batches by heart; if not, there is a mistake.
Both run in one process, into a run folder of their own that says so in its name.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from cvtrainer.core.compile import CompiledConfig, compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.engine.few_batches import FewBatches, SameBatches
from cvtrainer.engine.points import POINTS, compile_table
from cvtrainer.engine.view import StageView
from cvtrainer.experiment import Surroundings
from cvtrainer.hooks import EarlyStoppingHook, EMAHook, SWAHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs.own_folder import into_own_folder
from cvtrainer.jobs.train import Config, TrainResult, train_otherwise
from cvtrainer.protocols import Stream

_SAVED = "fast_dev_run.pth"
_NEAR_ZERO = 0.05
"""Of the first loss: what this is below has fallen to near zero."""

_ENOUGH = 0.01
"""Of the first loss: here an overfitting run ends early."""

_LOOK_EVERY = 20
_OWN_LOGGERS = ("ConsoleLogger", "FileLogger", "JsonlLogger")


def rehearse(
    config: Config,
    *,
    fast_dev_run: int | None,
    overfit: int | None,
    overrides: Sequence[str] = (),
    run_dir: str | Path | None = None,
    others: Mapping[str, object] | None = None,
) -> TrainResult:
    """What `train` does with `fast_dev_run` or `overfit`; `others` are words that do not fit."""
    refuse_others(fast_dev_run=fast_dev_run, overfit=overfit, others=others or {})
    if fast_dev_run:
        return try_out(config, int(fast_dev_run), overrides=overrides, run_dir=run_dir)
    assert overfit is not None
    return learn_by_heart(config, overfit, overrides=overrides, run_dir=run_dir).result


def refuse_others(*, fast_dev_run: object, overfit: object, others: Mapping[str, object]) -> None:
    """A rehearsal begins at the beginning, in one process."""
    word = "fast_dev_run" if fast_dev_run else "overfit"
    given = [name for name, value in others.items() if value is not None]
    if fast_dev_run and overfit is not None:
        given.append("overfit")
    if given:
        raise UserError(f"{word} does not go together with {', '.join(given)}")


@dataclass
class Overfitted:
    """How far the loss fell on the fixed batches, stage by stage."""

    result: TrainResult
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def fell(self) -> bool:
        """Whether every stage learnt its batches."""
        return all(last <= _NEAR_ZERO * abs(first) for first, last in self.losses.values())


def try_out(
    config: Config,
    batches: int = 1,
    *,
    overrides: Sequence[str] = (),
    run_dir: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> TrainResult:
    """So many batches of every phase of every stage; says what was exercised."""
    _at_least_one(batches, "--fast_dev_run")
    compiled = compile_config(config, overrides, purpose="train")
    changed = _own(compiled, "_fast_dev_run", run_dir, say)
    for stage in changed["stages"]:
        stage.update(epochs=1, max_steps=None, eval_every={"epochs": 1, "steps": None})
        strange = [node for node in stage["logger"] if not _is_own_logger(node)]
        stage["logger"] = [node for node in stage["logger"] if _is_own_logger(node)]
        if strange:
            names = ", ".join(str(node["name"]) for node in strange)
            say(f"stage {stage['name']}: left out: {names} (would write elsewhere)")
    tour = _TourHook()

    def adapt(around: Surroundings) -> None:
        around.adapt_hooks = lambda hooks: tour.beside(hooks)
        around.adapt_streams = lambda streams: tour.few(streams, batches)

    result = train_otherwise(replace(compiled, resolved=changed), adapt)
    lines = [*tour.lines]
    for place, stage in enumerate(changed["stages"]):
        tour.resuming = True
        stages = [*changed["stages"][:place], {**stage, "epochs": 2}]
        again = replace(compiled, resolved={**changed, "stages": stages})
        train_otherwise(again, adapt, resume=str(tour.saved[stage["name"]]))
        lines.append(f"stage {stage['name']}: saved, loaded into a new trainer, trained on")
    shutil.rmtree(result.run / "checkpoints", ignore_errors=True)
    for line in lines:
        say(line)
    say("all of it ran; its checkpoints were deleted")
    return replace(result, checkpoints=[])


class _TourHook(BaseHook):
    """Goes through all points, saves at the end of the epoch, evaluates test as well."""

    rank: ClassVar[Rank] = Rank.UPDATE
    name = "fast_dev_run"

    def __init__(self) -> None:
        self.saved: dict[str, Path] = {}
        self.lines: list[str] = []
        self.resuming = False
        self._hooks: list[Any] = []
        self._sizes: list[str] = []
        self._seen: set[str] = set()
        for point in POINTS:
            if point not in vars(type(self)):
                setattr(self, point, partial(self._note, point))

    def _note(self, point: str, stage: StageView) -> None:
        self._seen.add(point)

    def beside(self, hooks: list[Any]) -> list[Any]:
        """These hooks and this one."""
        self._hooks = hooks
        self._seen.clear()
        return [self, *hooks]

    def few(self, streams: dict[str, Stream], count: int) -> dict[str, Stream]:
        """The first batches of all of them."""
        short: dict[str, Stream] = {
            phase: FewBatches(stream, count) for phase, stream in streams.items()
        }
        self._sizes = [
            f"{phase} {len(short[phase])} of {len(stream)} batches"
            for phase, stream in streams.items()
        ]
        return short

    def after_epoch(self, stage: StageView) -> None:
        self._seen.add("after_epoch")
        if not self.resuming:
            path = stage.trainer.settings.checkpoints / _SAVED
            self.saved[stage.name] = path
            stage.trainer.request_save(path)

    def after_train(self, stage: StageView) -> None:
        self._seen.add("after_train")
        if self.resuming or stage.context.has("exception"):
            return
        if "test" in stage.trainer.streams:
            stage.trainer.evaluate("test")
        self.lines.append(f"stage {stage.name}: {', '.join(self._sizes)}")
        for hook in self._hooks:
            table = compile_table([hook])
            points = [point for point in POINTS if table.listeners(point)]
            fired = [point for point in points if point in self._seen]
            words = ", ".join(fired) if fired else "no point"
            missed = [point for point in points if point not in self._seen]
            rest = f"; not reached: {', '.join(missed)}" if missed else ""
            if points:
                self.lines.append(f"  hook {_name(hook)}: {words}{rest}")


def learn_by_heart(
    config: Config,
    batches: int,
    *,
    overrides: Sequence[str] = (),
    run_dir: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Overfitted:
    """Train and evaluate each stage on the same first batches; says whether they were learnt."""
    _at_least_one(batches, "--overfit")
    compiled = compile_config(config, overrides, purpose="train")
    changed = _own(compiled, "_overfit", run_dir, say)
    for stage in changed["stages"]:
        stage["dataloader"] = {"train": _without_chance(stage, say), "val": None, "test": None}
        stage.pop("deploy", None)
    watch = _OverfitHook(batches, say)

    def same(streams: dict[str, Stream]) -> dict[str, Stream]:
        whole = streams["train"]
        train = SameBatches(whole, batches, length=len(whole))
        return {"train": train, "val": SameBatches(train, batches)}

    def adapt(around: Surroundings) -> None:
        around.adapt_hooks = lambda hooks: [watch, *filter(_helps_learning, hooks)]
        around.adapt_streams = same

    result = train_otherwise(replace(compiled, resolved=changed), adapt)
    return Overfitted(result, watch.losses)


def _helps_learning(hook: Any) -> bool:
    """Averages lag behind the weights that learn, and patience ends early."""
    return not isinstance(hook, EMAHook | SWAHook | EarlyStoppingHook)


def _without_chance(stage: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """The training split with the transforms of evaluation, and nothing that is drawn."""
    blocks = stage["dataloader"]
    block = {**blocks["train"], "mixers": []}
    if blocks.get("val"):
        for key in ("transforms", "tensorizer", "device_steps"):
            block[key] = blocks["val"].get(key)
    else:
        say(
            f"stage {stage['name']}: there is no val whose transforms could be used; "
            "those of train are drawn once and kept"
        )
    return block


class _OverfitHook(BaseHook):
    """Compares the loss of the last pass over the batches with the first one."""

    rank: ClassVar[Rank] = Rank.UPDATE
    name = "overfit"

    def __init__(self, batches: int, say: Callable[[str], None]) -> None:
        self._batches = batches
        self._say = say
        self._first: list[Tensor] = []
        self._last: deque[Tensor] = deque()
        self.losses: dict[str, tuple[float, float]] = {}

    def before_train(self, stage: StageView) -> None:
        stream = stage.trainer.streams["val"]
        self._first, self._last = [], deque(maxlen=len(stream))

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train":
            return
        loss = stage["loss"].detach().clone()
        if len(self._first) < (self._last.maxlen or 1):
            self._first.append(loss)
        self._last.append(loss)
        if stage.clock.batches % max(_LOOK_EVERY, len(self._first)) == 0:
            first, last = _mean(self._first), _mean(self._last)
            if last <= _ENOUGH * abs(first):
                stage.trainer.stop()

    def after_train(self, stage: StageView) -> None:
        if stage.context.has("exception") or not self._first:
            return
        first, last = self.losses[stage.name] = _mean(self._first), _mean(self._last)
        metrics = stage.trainer.evaluate("val")
        samples = stage.trainer.streams["val"].samples
        share = f"{100 * last / abs(first):.3g} % of the first" if first else "the first was 0"
        fell = last <= _NEAR_ZERO * abs(first)
        self._say(
            f"stage {stage.name}: {len(self._first)} fixed batches ({samples} samples), "
            f"{stage.step} steps: loss {first:.4g} -> {last:.4g} ({share}): "
            f"{'it fell to near zero' if fell else 'it did NOT fall to near zero'}"
        )
        values = ", ".join(
            f"{name.partition('/')[2]} {value:.4g}" for name, value in metrics.items()
        )
        self._say(f"  evaluated on the same batches: {values or 'no meter'}")
        if fell and metrics.get("val/loss", last) > max(_NEAR_ZERO * abs(first), 3 * last):
            self._say(
                "  evaluation is worse on the very same batches: the model computes otherwise in "
                "evaluation (statistics of BatchNorm, a branch of its own)"
            )
        if not fell:
            self._say(
                "  look at: the learning rate (cvtrainer tune lr), epochs, dropout and decay, "
                "whether labels and loss belong together (label smoothing alone keeps a loss "
                "above zero)"
            )


def _own(
    compiled: CompiledConfig, suffix: str, run_dir: str | Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """The config with a folder of its own and one process."""
    changed = into_own_folder(compiled.resolved, suffix=suffix)
    changed["dir"] = None if run_dir is None else str(run_dir)
    for stage in changed["stages"]:
        if stage["ddp"]["enabled"]:
            say(f"stage {stage['name']}: this runs in one process, ddp is left out")
        stage["ddp"] = {**stage["ddp"], "enabled": False}
    return changed


def _is_own_logger(node: Mapping[str, Any]) -> bool:
    module, _, name = str(node["type"]).partition(":")
    return module.startswith("cvtrainer.logger") and name in _OWN_LOGGERS


def _mean(losses: Sequence[Tensor] | deque[Tensor]) -> float:
    return sum(float(loss) for loss in losses) / max(len(losses), 1)


def _name(hook: Any) -> str:
    return str(getattr(hook, "name", None) or type(hook).__name__)


def _at_least_one(count: int, where: str) -> None:
    if count < 1:
        raise UserError(f"{count} batches", where=where, todo="Give 1 or more.")
