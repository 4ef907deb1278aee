"""What of a trained task becomes the graph: its network, its reading, and the outputs told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Deployable
from cvtrainer.jobs.load import Trained
from cvtrainer.jobs.prediction.default_reading import default_reading
from cvtrainer.protocols import Batch, Outputs, Reading
from cvtrainer.tasks.reading import told_without_torch

TOP = ("top_probabilities", "top_classes")
_CLASSES = "classification"


class Graph:
    """`compute` gives everything the trained model says of a batch's pictures, and the `top` best
    classes where so many are asked for."""

    def __init__(
        self, trained: Trained, field: str, example: Batch, *, top: int | None = None
    ) -> None:
        task: Any = trained.task
        if not hasattr(task, "predict"):
            raise UserError(
                f"{type(task).__name__} does not predict, so there is no graph of it",
                where=f"stages.{trained.stage['name']}.task",
            )
        if hasattr(task, "draw"):
            raise UserError(
                f"{type(task).__name__} makes pictures of drawn numbers, and an artefact is proven "
                "by what it says of pictures",
                where=f"stages.{trained.stage['name']}.task",
            )
        self._task = task
        self._field = field
        with torch.no_grad():
            outputs: Outputs = task.predict({field: example[field]})
        own: Reading | None = getattr(task, "reading", None)
        self.reading: Reading = own or default_reading(trained.stage, outputs)
        self._reads = own is None
        with torch.no_grad():
            self.decoded = tuple(self.reading.decode(outputs))
        if top is not None and told_of(self.reading, trained.stage)["type"] != _CLASSES:
            raise UserError(
                "only what tells one class has best ones", where="--top", todo="Leave it out."
            )
        self._top = top

    def compute(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the network and what the task reads in them."""
        outputs: Outputs = self._task.predict({self._field: x})
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


def told_of(reading: Reading, stage: Mapping[str, Any]) -> dict[str, Any]:
    """The reading as telling knows it; somebody's own is named as in the config."""
    telling = told_without_torch(reading)
    if telling is not None:
        return telling.plain()
    node = stage.get("task")
    if node:
        return {"type": str(node["type"]), "kwargs": dict(node.get("kwargs") or {})}
    return {"type": type(reading).__name__, "kwargs": {}}
