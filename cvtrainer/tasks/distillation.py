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

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Batch, Outputs, Reading, State, UpdateResult
from cvtrainer.tasks.features import Pair, Pairs, Taps
from cvtrainer.tasks.soft_loss import SoftLoss

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
    divergence times its square (`SoftLoss`); several teachers count by their `factor`. Each of
    `features` names a layer or output of the `student` and of a `teacher` (`of` says which), whose
    mean squared difference is added `factor` times; an `adapter` brings the student's to the
    teacher's width.
    """

    name = "main"
    every = 1

    def __init__(
        self,
        task: Inner,
        teachers: nn.Module | Mapping[str, Any],
        output: str = "output",
        temperature: float = 4.0,
        soft: float | Mapping[str, Any] = 1.0,
        hard: float = 1.0,
        features: Sequence[Mapping[str, Any]] = (),
        reading: Reading | None = None,
    ) -> None:
        self.task = task
        self.reading = task.reading = reading or task.reading
        self.criterion = getattr(task, "criterion", None)
        self.soft = SoftLoss(soft, output, temperature, self.reading, self.criterion)
        if temperature <= 0 or self.soft.factor < 0 or hard < 0:
            raise UserError(
                f"task distillation: temperature is {temperature:g}, soft {self.soft.factor:g}, "
                f"hard {hard:g}; give more than 0, and 0 or more"
            )
        taken = _OWN_PARTS.intersection(getattr(self.criterion, "parts", ()))
        if taken:
            raise UserError(
                f"task distillation: a criterion is called {', '.join(sorted(taken))}, as a part "
                "of its own loss is",
                todo="Give that criterion another name.",
            )
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
            if self.soft.factor:
                apart = self.soft(own.outputs, outputs, name)
                soft.append(apart * (teacher.factor / whole))
                if len(self._teachers) > 1:
                    parts[f"soft_{name}"] = apart
        if soft:
            parts["soft"] = torch.stack(soft).sum()
            total = total + self.soft.factor * parts["soft"]
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
