"""The study in its file: which trials there are, what they gave, which one is next.

Optuna keeps it (SQLite, or its journal for any other suffix) and draws the values; this file alone
speaks to it. One process asks and finishes trials; those that train only report. Each draw starts
from a seed of its own, so that a study that was interrupted goes on as it would have.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cvtrainer.core.claims import claim_of
from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.seeds import mix
from cvtrainer.jobs.tune.space import Parameter, Values, grid

Direction = Literal["maximize", "minimize"]
Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["median", "hyperband", "none"]
SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "hyperband", "none")

_SQLITE = (".db", ".sqlite", ".sqlite3")
_NAME = "sweep"
_REASON, _RUN, _CONTINUES = "reason", "run", "continues"
_SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Ticket:
    """A trial that is to run; `continues` names the one it takes over from."""

    number: int
    values: Values
    folder_of: int


@dataclass(frozen=True)
class TrialRow:
    """What is known of one trial."""

    number: int
    state: str
    value: float | None
    values: Values
    reports: dict[int, float] = field(default_factory=dict)
    reason: str = ""
    run: str = ""
    superseded: bool = False


def locked(path: Path) -> AbstractContextManager[None]:
    """Nobody else asks for trials of that study meanwhile."""
    make_folder(path.parent)
    busy = UserError(
        "another sweep is using this study",
        where=str(path),
        todo="Wait for it to end, or give another --storage; --workers runs several trials.",
    )
    return claim_of(path.with_name(f"{path.name}.lock"), busy)


class StudyFile:
    """One study in one file."""

    def __init__(self, path: Path, *, pruner: Pruner, direction: Direction | None = None) -> None:
        """With a direction the study is made where there is none yet."""
        self._optuna = _optuna()
        self.path = path
        make_folder(path.parent)
        storage = self._storage(path)
        if direction is None:
            self._study = self._optuna.load_study(
                study_name=_NAME, storage=storage, pruner=self._pruner(pruner)
            )
        else:
            self._study = self._optuna.create_study(
                study_name=_NAME,
                storage=storage,
                direction=direction,
                load_if_exists=True,
                pruner=self._pruner(pruner),
            )
        if direction is not None and self.direction != direction:
            raise UserError(
                f"this study is to {self.direction} its metric, not to {direction} it",
                where=str(path),
                todo="Give another --storage.",
            )

    @property
    def direction(self) -> Direction:
        return "maximize" if self._study.direction.name == "MAXIMIZE" else "minimize"

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Remember what is searched; a study that searched something else is refused."""
        known = self._study.user_attrs
        for name, value in facts.items():
            text = json.dumps(value, sort_keys=True)
            if name not in known:
                self._study.set_user_attr(name, text)
            elif known[name] != text:
                raise UserError(
                    f"this study was begun with another {name}{_difference(known[name], text)}",
                    where=str(self.path),
                    todo="Its trials cannot be compared with new ones; give another --storage.",
                )

    def ask(self, space: Sequence[Parameter], sampler: Sampler, seed: int) -> Ticket | None:
        """The next trial; None where a grid is done."""
        if sampler == "grid" and not self._waiting():
            point = self._unseen(space)
            if point is None:
                return None
            self._study.enqueue_trial(point)
        drawn = mix(seed, len(self._study.get_trials(deepcopy=False))) % 2**32
        self._study.sampler = self._sampler(sampler, drawn)
        trial = self._study.ask({one.key: self._distribution(one) for one in space})
        takes_over = trial.user_attrs.get(_CONTINUES)
        return Ticket(
            trial.number, dict(trial.params), trial.number if takes_over is None else takes_over
        )

    def waiting(self) -> int:
        """Trials that are to be taken over and have not been asked for."""
        return len(self._waiting())

    def rows(self) -> list[TrialRow]:
        """All trials in their order."""
        return [self._row(trial) for trial in self._study.get_trials(deepcopy=False)]

    def best(self) -> TrialRow | None:
        """The complete trial with the best value; the earlier one of equals."""
        done = [row for row in self.rows() if row.state == "complete" and row.value is not None]
        if not done:
            return None
        sign = -1 if self.direction == "maximize" else 1
        return min(done, key=lambda row: (sign * (row.value or 0.0), row.number))

    def report(self, number: int, reports: Mapping[int, float]) -> bool:
        """Values by evaluation; says whether the trial may stop here."""
        trial = self._trial(number)
        known = self._study.get_trials(deepcopy=False)[number].intermediate_values
        for place, value in reports.items():
            if place not in known:
                trial.report(value, place)
        return bool(trial.should_prune())

    def note(self, number: int, *, run: str = "", reason: str = "") -> None:
        """Write down where a trial runs and why it ended."""
        trial = self._trial(number)
        for name, text in ((_RUN, run), (_REASON, reason)):
            if text:
                trial.set_user_attr(name, text)

    def complete(self, number: int, value: float) -> None:
        self._study.tell(number, value)

    def prune(self, number: int) -> None:
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        self.note(number, reason=reason)
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def hand_over(self, number: int, reason: str) -> None:
        """End an interrupted trial as failed and line up one that takes over from it."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        origin = frozen.user_attrs.get(_CONTINUES)
        self._study.enqueue_trial(
            dict(frozen.params), user_attrs={_CONTINUES: number if origin is None else origin}
        )
        self._trial(number).set_user_attr(_SUPERSEDED, True)
        self.fail(number, f"{reason}; taken over by a later trial")

    # -- what Optuna is told

    def _trial(self, number: int) -> Any:
        frozen = self._study.get_trials(deepcopy=False)[number]
        return self._optuna.trial.Trial(self._study, frozen._trial_id)

    def _waiting(self) -> list[Any]:
        states = (self._optuna.trial.TrialState.WAITING,)
        return list(self._study.get_trials(deepcopy=False, states=states))

    def _unseen(self, space: Sequence[Parameter]) -> Values | None:
        tried = [row.values for row in self.rows()]
        return next((point for point in grid(space) if point not in tried), None)

    def _row(self, trial: Any) -> TrialRow:
        attributes = trial.user_attrs
        waiting = trial.state.name == "WAITING"
        superseded = bool(attributes.get(_SUPERSEDED, False))
        state = {"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())
        return TrialRow(
            trial.number,
            "taken over" if superseded and state == "failed" else state,
            trial.value if trial.state.name in ("COMPLETE", "PRUNED") else None,
            dict(trial.system_attrs.get("fixed_params", {})) if waiting else dict(trial.params),
            dict(trial.intermediate_values),
            str(attributes.get(_REASON, "")),
            str(attributes.get(_RUN, "")),
            superseded,
        )

    def _storage(self, path: Path) -> Any:
        if path.suffix in _SQLITE:
            return self._optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
        backend = self._optuna.storages.journal.JournalFileBackend(str(path))
        return self._optuna.storages.JournalStorage(backend)

    def _distribution(self, one: Parameter) -> Any:
        kinds = self._optuna.distributions
        if one.kind == "choice":
            return kinds.CategoricalDistribution(one.choices)
        if one.kind == "int":
            step = 1 if one.step is None else int(one.step)
            return kinds.IntDistribution(int(one.low), int(one.high), log=one.log, step=step)
        return kinds.FloatDistribution(one.low, one.high, log=one.log, step=one.step)

    def _sampler(self, kind: Sampler, seed: int) -> Any:
        if kind == "tpe":
            return self._optuna.samplers.TPESampler(seed=seed)
        return self._optuna.samplers.RandomSampler(seed=seed)

    def _pruner(self, kind: Pruner) -> Any:
        pruners = self._optuna.pruners
        if kind == "median":
            return pruners.MedianPruner()
        return pruners.HyperbandPruner() if kind == "hyperband" else pruners.NopPruner()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "it needs Optuna, which is not installed",
            where="tune sweep",
            todo="pip install 'cvtrainer[tune]'",
        ) from error
    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _difference(known: str, now: str) -> str:
    """Which keys of two JSON texts differ, a few of them."""
    one, other = json.loads(known), json.loads(now)
    if not isinstance(one, dict | list) or not isinstance(other, dict | list):
        return f" ({one}, now {other})"
    left, right = dict(_leaves(one)), dict(_leaves(other))
    keys = [key for key in dict.fromkeys([*left, *right]) if left.get(key) != right.get(key)]
    return f" ({', '.join(keys[:3])}{' …' if len(keys) > 3 else ''})"


def _leaves(data: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    pairs: Any = data.items() if isinstance(data, dict) else ()
    if isinstance(data, list):
        pairs = (
            (str(part.get("name", at)) if isinstance(part, dict) else at, part)
            for at, part in enumerate(data)
        )
    elif not isinstance(data, dict):
        yield place, data
        return
    for key, part in pairs:
        yield from _leaves(part, f"{place}.{key}" if place else str(key))
