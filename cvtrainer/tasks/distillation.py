"""A task around a task: a network learns from targets and from what teachers make of the samples.

Teachers are asked, not trained: they stay in evaluation, have no gradients, are not spread over
processes and are no part of a checkpoint. Evaluation is that of the task inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Batch, Outputs, Reading, State, UpdateResult
from cvtrainer.tasks.features import Pair, Pairs, Taps
from cvtrainer.tasks.reading import output_named

ADAPTERS = "adapters"
_OWN_PARTS = frozenset(("hard", "soft", "features"))


class Inner(Protocol):
    """What it is put around: training of one network in one update."""

    reading: Reading | None

    @property
    def networks(self) -> Mapping[str, nn.Module]: ...

    def replace(self, networks: Mapping[str, nn.Module]) -> None: ...

    def compute(self, batch: Batch) -> UpdateResult: ...

    def evaluate(self, batch: Batch) -> UpdateResult: ...

    def predict(self, batch: Batch) -> Outputs: ...

    def outputs_with(self, network: nn.Module, batch: Batch) -> Outputs: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...

    def refuse_unknown(self, batch: Batch) -> None: ...


@dataclass(frozen=True)
class Teacher:
    """One teacher; `weights` is the file they are read from when training starts."""

    network: nn.Module
    weights: str | None = None
    factor: float = 1.0


class Distillation:
    """`hard` times the task's own loss, `soft` times how far the scores are from the teachers'.

    Scores are those of `output`, softened by `temperature` and compared by Kullback and Leibler's
    divergence times its square; several teachers count by their `factor`. Each of `features` names
    a layer or output of the `student` and of a `teacher` (`of` says which), whose mean squared
    difference is added `factor` times; an `adapter` brings the student's to the teacher's width.
    """

    name = "main"
    every = 1

    def __init__(
        self,
        task: Inner,
        teachers: nn.Module | Mapping[str, Any],
        output: str = "output",
        temperature: float = 4.0,
        soft: float = 1.0,
        hard: float = 1.0,
        features: Sequence[Mapping[str, Any]] = (),
        reading: Reading | None = None,
    ) -> None:
        if temperature <= 0 or soft < 0 or hard < 0:
            raise UserError(
                f"task distillation: temperature is {temperature:g}, soft {soft:g}, hard {hard:g}; "
                "give more than 0, and 0 or more"
            )
        self.task = task
        self.reading = task.reading = reading or task.reading
        self.criterion = getattr(task, "criterion", None)
        taken = _OWN_PARTS.intersection(getattr(self.criterion, "parts", ()))
        if taken:
            raise UserError(
                f"task distillation: a criterion is called {', '.join(sorted(taken))}, as a part "
                "of its own loss is",
                todo="Give that criterion another name.",
            )
        self.output = output
        self.temperature = temperature
        self.soft = soft
        self.hard = hard
        self._teachers = _teachers(teachers)
        self.frozen = {name: one.network for name, one in self._teachers.items()}
        for network in self.frozen.values():
            network.eval().requires_grad_(False)
        pairs = [Pair.read(one, tuple(self._teachers)) for one in features]
        self._pairs = Pairs(pairs)
        self.networks = dict(task.networks)
        if self._pairs.adapted:
            self.networks[ADAPTERS] = self._pairs
        self._used_pairs: nn.Module = self._pairs
        (student,) = task.networks.values()
        self._taps = {
            name: Taps(self.frozen[name], [one.teacher for one in pairs if one.of == name])
            for name in self._teachers
        }
        self._student_taps = Taps(student, [one.student for one in pairs])

    @property
    def frozen_weights(self) -> dict[str, str]:
        """Files of the teachers' weights."""
        return {name: one.weights for name, one in self._teachers.items() if one.weights}

    def updates(self) -> Sequence[Distillation]:
        return (self,)

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        self._used_pairs = networks.get(ADAPTERS, self._pairs)
        self.task.replace({name: one for name, one in networks.items() if name != ADAPTERS})

    def evaluate(self, batch: Batch) -> UpdateResult:
        return self.task.evaluate(batch)

    def predict(self, batch: Batch) -> Outputs:
        return self.task.predict(batch)

    def compute(self, batch: Batch) -> UpdateResult:
        with self._student_taps as seen:
            own = self.task.compute(batch)
            student = {**own.outputs, **seen}
        total, parts = self.hard * own.loss, {"hard": own.loss, **own.losses}
        whole = sum(one.factor for one in self._teachers.values())
        found: dict[str, Outputs] = {}
        soft: list[Tensor] = []
        for name, teacher in self._teachers.items():
            with torch.no_grad(), self._taps[name] as taught:
                outputs = self.task.outputs_with(teacher.network, batch)
                found[name] = {**outputs, **taught}
            if self.soft:
                apart = self._apart(own.outputs, outputs, name)
                soft.append(apart * (teacher.factor / whole))
                if len(self._teachers) > 1:
                    parts[f"soft_{name}"] = apart
        if soft:
            parts["soft"] = torch.stack(soft).sum()
            total = total + self.soft * parts["soft"]
        if self._pairs.pairs:
            differences = self._used_pairs(*self._pairs.sides(student, found))
            parts["features"] = torch.stack(differences).sum()
            total = total + parts["features"]
        return UpdateResult(total, parts, own.outputs)

    def refuse_unknown(self, batch: Batch) -> None:
        """Look for class numbers that there is no score for."""
        self.task.refuse_unknown(batch)

    def state_dict(self) -> State:
        return self.task.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.task.load_state_dict(state)

    def _apart(self, own: Outputs, taught: Outputs, teacher: str) -> Tensor:
        """How far the softened scores are from the teacher's."""
        scores = output_named(own, self.output, "distillation")
        wanted = output_named(taught, self.output, f"distillation: {teacher}")
        if scores.shape != wanted.shape or scores.ndim < 2:
            raise UserError(
                f"the student's {self.output!r} has the shape {list(scores.shape)}, that of "
                f"{teacher} {list(wanted.shape)}",
                where="task distillation",
                todo="Both need the same classes; or set soft: 0 and compare features.",
            )
        ours, theirs = (_log_shares(one, self.temperature) for one in (scores, wanted))
        apart = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)
        return apart.mean() * self.temperature**2


def _log_shares(scores: Tensor, temperature: float) -> Tensor:
    """Of one score per sample, those of it and of its opposite."""
    soft = scores.float() / temperature
    if soft.shape[1] == 1:
        soft = torch.cat((soft, torch.zeros_like(soft)), dim=1)
    return soft.log_softmax(dim=1)


def _teachers(given: nn.Module | Mapping[str, Any]) -> dict[str, Teacher]:
    """A network, or names to networks or to what `Teacher` holds."""
    named = {"teacher": given} if isinstance(given, nn.Module) else dict(given)
    if "network" in named:
        named = {"teacher": named}
    found = {}
    for name, one in named.items():
        node = {"network": one} if isinstance(one, nn.Module) else one
        if not isinstance(node, Mapping) or not isinstance(node.get("network"), nn.Module):
            raise UserError(
                f"{name} is no network",
                where="task distillation: teachers",
                todo="Write {network: {type: ...}, weights: FILE}.",
            )
        unknown = sorted(set(node) - {"network", "weights", "factor"})
        if unknown:
            raise UserError(
                f"{name}: {unknown[0]!r} is not understood",
                where="task distillation: teachers",
                todo="It has network, weights and factor.",
            )
        found[str(name)] = Teacher(**node)
        if found[str(name)].factor <= 0:
            raise UserError(f"the factor of {name} must be above 0", where="task distillation")
    if not found:
        raise UserError("there is none", where="task distillation: teachers")
    return found
