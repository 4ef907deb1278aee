"""What of a trained task becomes the graph: its network, its reading, and the outputs told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.collate import PADDING_SUFFIX
from cvtrainer.deploy.program import Deployable
from cvtrainer.jobs.load import Trained
from cvtrainer.jobs.prediction.default_reading import default_reading
from cvtrainer.protocols import Batch, Outputs, Reading
from cvtrainer.tasks.reading import told_without_torch
from cvtrainer.telling.classification import TOP

_CLASSES = "classification"
_NO_INPUTS = ("target", "meta")


class Graph:
    """`compute` gives everything the trained model says of a batch's inputs, and the `top` best
    classes where so many are asked for; `said` is the same of a batch as it was evaluated."""

    def __init__(
        self, trained: Trained, field: str, example: Batch, *, top: int | None = None
    ) -> None:
        self._task: Any = trained.task
        self._field = field
        self._padding = f"{field}{PADDING_SUFFIX}"
        if field not in example:
            raise UserError(
                f"a batch has no field {field}, which the artefact takes",
                where=f"stages.{trained.stage['name']}.dataloader",
                todo=f"It has {', '.join(one for one in example if one not in _NO_INPUTS)}.",
            )
        more = [one for one in fields_read(trained, example) if one not in (field, self._padding)]
        if more:
            raise UserError(
                f"the network takes {' and '.join((field, *more))}, and an artefact has one input",
                where=f"stages.{trained.stage['name']}.model",
                todo=f"Only networks that take {field} alone can be exported.",
            )
        with torch.no_grad():
            outputs: Outputs = self._task.predict({field: example[field]})
        own: Reading | None = getattr(self._task, "reading", None)
        self.reading: Reading = own or default_reading(trained.stage, outputs)
        self._reads = own is None
        with torch.no_grad():
            self.decoded = tuple(self.reading.decode(outputs))
        if top is not None and told_of(self.reading, trained.stage)["type"] != _CLASSES:
            raise UserError(
                "only what tells one class has best ones", where="--top", todo="Leave it out."
            )
        self._top = top
        self._given = outputs

    def unread(self, read: Collection[str]) -> list[str]:
        """Outputs of the network that neither the reading looks at nor a meter, which `read`s
        these: they are left out of graphs that decode."""
        others = [name for name in self._given if name not in {*self.decoded, *read}]
        return [name for name in others if not self._is_needed(name)]

    def _is_needed(self, name: str) -> bool:
        """Whether the reading can do without it."""
        without = {other: value for other, value in self._given.items() if other != name}
        try:
            with torch.no_grad():
                return set(self.reading.decode(without)) != set(self.decoded)
        except Exception:  # whatever somebody's own reading raises
            return True

    def said(self, batch: Batch) -> dict[str, Tensor]:
        """As in evaluation, where a network may look at what fills the batch."""
        there = [name for name in (self._field, self._padding) if name in batch]
        return self._read(self._task.predict({name: batch[name] for name in there}))

    def compute(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the network and what the task reads in them."""
        return self._read(self._task.predict({self._field: x}))

    def _read(self, outputs: Outputs) -> dict[str, Tensor]:
        if self._reads:
            outputs = {**outputs, **self.reading.decode(outputs)}
        if self._top is not None:
            shares = outputs["probabilities"]
            best = shares.topk(min(self._top, shares.shape[1]), dim=1)
            outputs = {**outputs, TOP[0]: best.values, TOP[1]: best.indices}
        return {name: value for name, value in outputs.items() if isinstance(value, Tensor)}

    def completed(self, outputs: Outputs) -> Outputs:
        """An artefact's outputs with what somebody's own reading adds, which no runtime knows."""
        if set(self.decoded) <= set(outputs):
            return outputs
        return {**outputs, **self.reading.decode(outputs)}

    def deployable(self, trained: Trained, x: Tensor) -> Deployable:
        """A module that gives all of that."""
        with torch.no_grad():
            made = self.compute(x)
        return Deployable(trained.network, self.compute, list(made))

    def outputs_for(
        self, every: Sequence[str], read: Collection[str], *, decodes: bool
    ) -> list[str]:
        """What an artefact gives of all outputs; `read` are those that meters look at.

        One that does not decode gives what comes before.
        """
        if not decodes:
            return [name for name in every if name not in self.decoded]
        told = {*self.decoded, *read, *TOP}
        return [name for name in every if name in told] or list(every)


def fields_read(trained: Trained, batch: Batch) -> list[str]:
    """The fields of a batch that the trained model looks at to tell what it tells."""
    task: Any = trained.task
    where = f"stages.{trained.stage['name']}.task"
    if not hasattr(task, "predict"):
        raise UserError(
            f"{type(task).__name__} does not predict, so there is no graph of it", where=where
        )
    if hasattr(task, "draw"):
        raise UserError(
            f"{type(task).__name__} makes pictures of drawn numbers, and an artefact is proven "
            "by what it says of inputs",
            where=where,
        )
    inputs = _Watched({name: value for name, value in batch.items() if name not in _NO_INPUTS})
    with torch.no_grad():
        task.predict(inputs)
    return list(inputs.looked_at)


class _Watched(dict[str, Any]):
    """Remembers which of its values were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.looked_at: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        self.looked_at[name] = None
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            self.looked_at[name] = None
        return super().get(name, default)


def told_of(reading: Reading, stage: Mapping[str, Any]) -> dict[str, Any]:
    """The reading as telling knows it; somebody's own is named as in the config."""
    telling = told_without_torch(reading)
    if telling is not None:
        return telling.plain()
    node = stage.get("task")
    if node:
        return {"type": str(node["type"]), "kwargs": dict(node.get("kwargs") or {})}
    return {"type": type(reading).__name__, "kwargs": {}}
