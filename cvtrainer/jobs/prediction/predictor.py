"""Answers about inputs, in their order: batches through the network, read, and carried back.

Neighbours of one shape share a batch, so nothing is padded and an answer does not depend on what
else was asked. What cannot be read is an answer too, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.pipeline import SPOILED
from cvtrainer.data.sample import BadSample
from cvtrainer.data.transforms.way_back import WayBack
from cvtrainer.engine.blame import ABOUT_VALUES
from cvtrainer.engine.explaining import explain
from cvtrainer.engine.prepare import to_device
from cvtrainer.jobs.prediction.default_reading import default_reading
from cvtrainer.jobs.prediction.inputs import Input
from cvtrainer.jobs.prediction.preparing import Preparation, Prepared
from cvtrainer.protocols import Batch, Outputs, Reading
from cvtrainer.tasks.reading import tells_below
from cvtrainer.telling.reading import WHOLE, Paths

_THREADS = 8


@dataclass
class Answer:
    """What the network says of one input; `error` says why it says nothing.

    `places` names the outputs that stand in the picture, `note` says why they were not carried
    back to the file's own pixels; `pictures` names the outputs that are pictures themselves;
    `below` says where in `told` the tellings of single readings stand.
    """

    input: Input
    told: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None
    error: str | None = None
    pictures: Sequence[str] = ()
    below: Paths = WHOLE


class Predictor:
    """A task in evaluation mode, with its preparation and its reading."""

    def __init__(
        self,
        task: Any,
        preparation: Preparation,
        *,
        stage: Mapping[str, Any],
        classes: Sequence[str] | None,
        device: torch.device,
    ) -> None:
        self._task = task
        self._preparation = preparation
        self._stage = stage
        self._classes = list(classes) if classes is not None else None
        self._device = device
        self._own: Reading | None = getattr(task, "reading", None)
        if self._own is None and hasattr(task, "describe"):
            self._own = task

    def drawn(self, count: int, seed: int) -> Iterator[Input]:
        """Inputs that the task itself draws, of which it makes something."""
        if not hasattr(self._task, "draw"):
            raise UserError(
                f"{type(self._task).__name__} makes nothing of its own, so there must be inputs"
            )
        for number, row in enumerate(self._task.draw(count, seed)):
            yield Input(f"{seed}_{number:04d}", row, ready=True)

    def answers(self, inputs: Iterable[Input], batch_size: int = 32) -> Iterator[Answer]:
        """One answer per input, in order."""
        waiting: list[tuple[Input, Prepared | str]] = []
        for one, prepared in self._prepared(iter(inputs), batch_size):
            shape = self._shape(prepared)
            shapes = {self._shape(each) for _, each in waiting} - {None}
            good = sum(not isinstance(each, str) for _, each in waiting)
            if (shape is not None and shapes - {shape}) or good == batch_size:
                yield from self._answer(waiting)
                waiting = []
            waiting.append((one, prepared))
        yield from self._answer(waiting)

    def _prepared(
        self, inputs: Iterator[Input], batch_size: int
    ) -> Iterator[tuple[Input, Prepared | str]]:
        """Each with its sample, a batch's worth at a time in threads where the parts allow it."""
        threads = min(os.cpu_count() or 1, batch_size, _THREADS)
        if threads < 2 or not self._preparation.thread_safe:
            for one in inputs:
                yield one, self._prepare(one)
            return
        with ThreadPoolExecutor(threads) as pool:
            while some := list(islice(inputs, batch_size)):
                yield from zip(some, pool.map(self._prepare, some), strict=True)

    def _prepare(self, one: Input) -> Prepared | str:
        locate = bool(getattr(self._own, "IN_PICTURE", None))
        try:
            return self._preparation.prepare(one, locate=locate)
        except BadSample as error:
            return error.what
        except SPOILED as error:
            return (str(error).strip() or type(error).__name__).splitlines()[0]

    def _shape(self, prepared: Prepared | str) -> tuple[int, ...] | None:
        if isinstance(prepared, str):
            return None
        return tuple(getattr(prepared.sample[self._preparation.field], "shape", ()))

    def _answer(self, waiting: Sequence[tuple[Input, Prepared | str]]) -> Iterator[Answer]:
        good = [prepared for _, prepared in waiting if not isinstance(prepared, str)]
        outputs: Outputs = {}
        reading: Reading | None = None
        if good:
            try:
                outputs, reading = self._outputs([prepared.sample for prepared in good])
            except BadSample as error:
                waiting = [
                    (one, prepared if isinstance(prepared, str) else error.what)
                    for one, prepared in waiting
                ]
        place = 0
        for one, prepared in waiting:
            if isinstance(prepared, str) or reading is None:
                yield Answer(one, error=str(prepared))
                continue
            yield self._read(one, prepared, _own(outputs, place, len(good)), reading)
            place += 1

    @torch.no_grad()
    def _outputs(self, samples: Sequence[Mapping[str, Any]]) -> tuple[Outputs, Reading]:
        batch = self._preparation.batch([dict(sample) for sample in samples])
        batch = self._preparation.finish(to_device(batch, self._device))
        outputs = self._predicted(batch)
        if self._own is not None:
            return outputs, self._own
        reading = default_reading(self._stage, outputs)
        return {**outputs, **reading.decode(outputs)}, reading

    def _predicted(self, batch: Batch) -> Outputs:
        """What the network makes of it; what no layer can take is as bad as an unreadable file."""
        try:
            outputs: Outputs = self._task.predict(batch)
        except ABOUT_VALUES as error:
            try:
                explain(error, self._task.networks, batch)
            except UserError as told:
                what = told.what.partition("; it was given")[0]
                raise BadSample(what, kind="value") from error
            raise
        return outputs

    def _read(self, one: Input, prepared: Prepared, own: Outputs, reading: Reading) -> Answer:
        places: Mapping[str, str] = getattr(reading, "IN_PICTURE", {})
        if hasattr(reading, "shown"):
            own = reading.shown(own)
        if isinstance(prepared.way, WayBack) and prepared.size is not None:
            own = {**own, **_carried(own, places, prepared.way, prepared.size)}
        note = prepared.way if isinstance(prepared.way, str) else None
        told = reading.describe(own, 0, self._classes)
        tensors = {name: value[0] for name, value in own.items() if isinstance(value, Tensor)}
        pictures = tuple(getattr(reading, "PICTURES", ()))
        below = tells_below(reading)
        return Answer(one, told, tensors, places, note, pictures=pictures, below=below)


def _own(outputs: Outputs, place: int, count: int) -> Outputs:
    """One sample's outputs as a batch of one; what does not belong to samples is left out."""
    return {
        name: value[place : place + 1].cpu()
        for name, value in outputs.items()
        if isinstance(value, Tensor) and value.ndim and len(value) == count
    }


def _carried(
    outputs: Outputs, places: Mapping[str, str], way: WayBack, size: tuple[int, int]
) -> Outputs:
    """What stands in the picture, in the pixels of its file."""
    found: Outputs = {}
    for name, kind in places.items():
        if name not in outputs:
            continue
        value = outputs[name]
        if kind == "boxes":
            found[name] = way.boxes(value)
        elif kind == "points":
            found[name] = way.points(value)
        else:
            found[name] = way.maps(value, size)
    return found
