"""`cvtrainer tune sweep`: search values of a config, trial by trial, in a study that can go on.

This process asks for trials and writes down how they end; worker processes train them and report
after each evaluation. Every trial is an ordinary run in a folder of its own. What stops in between
is taken over by a new trial that goes on from its last checkpoint.
"""

from __future__ import annotations

import csv
import io
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from cvtrainer.core.compile import CompiledConfig, compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.files import make_folder, write_whole
from cvtrainer.core.run_folder import config_text
from cvtrainer.engine.recorder import Recorder
from cvtrainer.experiment import Experiment
from cvtrainer.jobs.tune.crew import KILLED, Crew, wait_for_earlier
from cvtrainer.jobs.tune.space import Parameter, check_space, words_of
from cvtrainer.jobs.tune.study import (
    Direction,
    Pruner,
    Sampler,
    StudyFile,
    Ticket,
    TrialRow,
    locked,
)
from cvtrainer.jobs.tune.subject import Config, to_stderr
from cvtrainer.jobs.tune.worker import Order, Outcome

USUAL_METRICS = ("val/accuracy", "val/loss")
_MOST_TAKEOVERS = 2
"""A trial whose process is killed this often counts as failed."""


@dataclass(frozen=True)
class Search:
    """How many trials, by which rules; None where the meters decide."""

    trials: int = 20
    workers: int = 1
    metric: str | None = None
    direction: Direction | None = None
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"

    def __post_init__(self) -> None:
        for name in ("trials", "workers"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}", todo="Use 1 or more.")


@dataclass
class SweepResult:
    """All trials, the best one, and where things lie."""

    folder: Path
    storage: Path
    metric: str
    direction: Direction
    rows: list[TrialRow] = field(default_factory=list)
    best: TrialRow | None = None
    best_config: Path | None = None


def sweep(
    config: Config,
    space: Sequence[Parameter],
    *,
    overrides: Sequence[str] = (),
    search: Search | None = None,
    storage: str | Path | None = None,
    say: Callable[[str], None] = to_stderr,
) -> SweepResult:
    """Search until so many trials of the study have ended; the same call goes on with it."""
    search = search or Search()
    check_space(config, overrides, space)
    compiled = compile_config(config, overrides, purpose="train")
    resolved = compiled.resolved
    if any(stage["ddp"]["enabled"] for stage in resolved["stages"]):
        raise UserError(
            "a trial runs in one process",
            where="ddp.enabled",
            todo="Add ddp.enabled=false; --workers trains several trials at once.",
        )
    metric = judged_by(compiled, search.metric)
    direction = search.direction or _direction(compiled, metric)
    default = Path("runs") / str(resolved["project"]) / f"{resolved['name']}_sweep.db"
    path = Path(storage) if storage is not None else default
    result = SweepResult(path.with_suffix("") / "", path, metric, direction)
    if result.folder == path:
        raise UserError("a storage file needs a suffix", where=str(path), todo="Such as .db")
    with locked(path), _told_to_stop():
        study = StudyFile(path, pruner=search.pruner, direction=direction)
        study.agree(
            {
                "config": {**resolved, "dir": None},
                "space": [one.as_plain() for one in space],
                "metric": metric,
            }
        )
        _Sweep(config, list(overrides), space, study, search, result, say).run(resolved["seed"])
    result.rows, result.best = study.rows(), study.best()
    write_results(result, config, overrides, space)
    return result


class _Sweep:
    """One call of the verb."""

    def __init__(
        self,
        config: Config,
        overrides: list[str],
        space: Sequence[Parameter],
        study: StudyFile,
        search: Search,
        result: SweepResult,
        say: Callable[[str], None],
    ) -> None:
        self._config = str(config) if isinstance(config, str | Path) else dict(config)
        self._overrides = overrides
        self._space = space
        self._study = study
        self._search = search
        self._result = result
        self._say = say
        self._trials_folder = make_folder(result.folder / "trials")
        self._crew = Crew(search.workers, result.folder)

    def run(self, seed: int) -> None:
        """Ask, give, write down, until there are enough trials."""
        self._take_stock()
        open_ended = True
        try:
            while open_ended or self._crew.busy:
                while open_ended and self._crew.has_room:
                    open_ended = self._begin_one(seed)
                if self._crew.busy:
                    self._write_down(self._crew.next_outcome())
        except KeyboardInterrupt:
            self._interrupted()
            raise
        except BaseException:
            self._crew.kill()
            raise
        self._crew.stop()

    def _take_stock(self) -> None:
        """Line up anew what an earlier call left running."""
        wait_for_earlier(self._result.folder, self._say)
        for row in self._study.rows():
            if row.state == "running":
                self._study.hand_over(row.number, "its sweep was ended")
                self._say(f"trial {row.number} was left running; a new trial takes over")
        done = self._counted()
        if done:
            self._say(f"the study has {done} of {self._search.trials} trials; going on")

    def _counted(self) -> int:
        """Trials that count: ended or under way, but not those that another took over."""
        states = ("complete", "pruned", "failed", "running")
        return sum(row.state in states and not row.superseded for row in self._study.rows())

    def _begin_one(self, seed: int) -> bool:
        """Give out the next trial; false where there is none."""
        if self._counted() >= self._search.trials and not self._study.waiting():
            return False
        ticket = self._study.ask(self._space, self._search.sampler, seed)
        if ticket is None:
            return False
        if self._known(ticket):
            return True
        folder = self._trials_folder / f"{ticket.folder_of:04}"
        self._study.note(ticket.number, run=folder.as_posix())
        self._crew.give(
            Order(
                number=ticket.number,
                config=self._config,
                overrides=[*self._overrides, *words_of(self._space, ticket.values)],
                folder=folder.as_posix(),
                metric=self._result.metric,
                storage=str(self._result.storage),
                pruner=self._search.pruner,
                direction=self._result.direction,
            )
        )
        return True

    def _known(self, ticket: Ticket) -> bool:
        """The same values give the same run: what is known of them is not trained again."""
        for row in self._study.rows():
            if row.number == ticket.number or row.values != ticket.values:
                continue
            if row.state == "complete" and row.value is not None:
                self._study.note(
                    ticket.number, run=row.run, reason=f"same values as trial {row.number}"
                )
                self._study.complete(ticket.number, row.value)
                return True
        return False

    def _write_down(self, outcome: Outcome) -> None:
        study, number = self._study, outcome.number
        row = study.rows()[number]
        if outcome.ending == "complete" and outcome.value is not None:
            study.complete(number, outcome.value)
        elif outcome.ending == "pruned":
            study.prune(number)
        elif outcome.ending == "interrupted" and self._takeovers(row) < _MOST_TAKEOVERS:
            study.hand_over(number, outcome.reason)
        else:
            study.fail(number, outcome.reason)
        self._say(self._line(study.rows()[number], outcome))

    def _takeovers(self, row: TrialRow) -> int:
        """How many trials have ended in this one's folder without an outcome."""
        rows = [other for other in self._study.rows() if other.run == row.run]
        return sum(other.superseded and other.reason.startswith(KILLED) for other in rows)

    def _interrupted(self) -> None:
        for outcome in self._crew.stop():
            if outcome.ending == "interrupted":
                self._study.hand_over(outcome.number, "interrupted")
            else:
                self._write_down(outcome)
        done = self._counted()
        self._say(
            f"interrupted after {done} of {self._search.trials} trials; the same command goes on"
        )

    def _line(self, row: TrialRow, outcome: Outcome) -> str:
        words = " ".join(words_of(self._space, row.values))
        if outcome.value is not None:
            evaluations = f"{len(row.reports)} evaluations"
            return (
                f"trial {row.number} {row.state}: {words}  "
                f"{self._result.metric} {outcome.value:.6g} ({evaluations})"
            )
        return f"trial {row.number} {row.state}: {words}  {row.reason}"


def judged_by(compiled: CompiledConfig, wanted: str | None) -> str:
    """The metric's stored name; checked before anything is trained."""
    stage = compiled.resolved["stages"][-1]
    if not (stage.get("dataloader") or {}).get("val"):
        raise UserError(
            f"stage {stage['name']} has no dataloader.val, so nothing is ever evaluated",
            where="tune sweep",
        )
    first: UserError | None = None
    for name in (wanted,) if wanted is not None else USUAL_METRICS:
        problem = _metric_problem(compiled, stage, name)
        if problem is None:
            return name
        first = first or problem
    assert first is not None
    raise first


def _metric_problem(
    compiled: CompiledConfig, stage: Mapping[str, Any], metric: str
) -> UserError | None:
    """What the config check says about a hook that is judged by this metric."""
    hook = {
        "name": "tune_sweep",
        "type": "cvtrainer.hooks:EarlyStoppingHook",
        "kwargs": {"metric_name": metric, "patience": 1},
    }
    judged = {**stage, "hooks": [hook], "init_from": None}
    try:
        compile_config({**compiled.resolved, "stages": [judged]})
    except ConfigErrors as errors:
        for problem in errors.problems:
            if problem.path.endswith("metric_name"):
                near = problem.suggestion
                todo = f"Did you mean {near}?" if near else None
                return UserError(problem.what, where="--metric", todo=todo)
    return None


def _direction(compiled: CompiledConfig, metric: str) -> Direction:
    """Which way the metric improves, as its meter declares."""
    stage = compiled.resolved["stages"][-1]
    recorder = Recorder(Experiment(compiled.path).meters(stage), "val")
    name = metric.partition("/")[2] or metric.removeprefix("val_")
    return "maximize" if recorder.higher_is_better(name) else "minimize"


def write_results(
    result: SweepResult, config: Config, overrides: Sequence[str], space: Sequence[Parameter]
) -> None:
    """`trials.csv`, and `best.yaml` that trains with the best values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [parameter.key for parameter in space]
    writer.writerow(["trial", "state", result.metric, *keys, "evaluations", "run", "reason"])
    for row in result.rows:
        value = "" if row.value is None else f"{row.value:.8g}"
        values = [row.values.get(key, "") for key in keys]
        line = [row.number, row.state, value, *values, len(row.reports), row.run, row.reason]
        writer.writerow(line)
    write_whole(result.folder / "trials.csv", text.getvalue())
    if result.best is None:
        return
    words = [*overrides, *words_of(space, result.best.values)]
    compiled = compile_config(config, words, purpose="train")
    origin = f"# The best of {len(result.rows)} trials by {result.metric}: "
    origin += f"{result.best.value:.6g} in trial {result.best.number}.\n"
    origin += "".join(f"#   {word}\n" for word in words_of(space, result.best.values))
    result.best_config = result.folder / "best.yaml"
    write_whole(result.best_config, origin + config_text(compiled.resolved))


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """SIGTERM ends a sweep as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
