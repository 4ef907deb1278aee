"""Arrays: an artefact is fed with those of the evaluation's batches, as the tensorizer made them.

A network that looks at what fills a batch gets each sample at its own length instead: an artefact
has one input, and without neighbours of other lengths nothing is filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import array_spec_of
from cvtrainer.data.collate import PADDING_SUFFIX
from cvtrainer.deploy.contract import ARRAYS
from cvtrainer.jobs.export.graph import fields_read
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.load import Trained
from cvtrainer.protocols import Batch

_DTYPES = (torch.float32, torch.int64)
_LOOKED_AT = 256
"""Samples whose shapes say which lengths are free, beside what the tensorizer itself says."""
_TOGETHER = 16


@dataclass(frozen=True)
class ArrayFeed:
    """See `feed.Feed`."""

    spec: ArraySpec
    free: tuple[int, ...] = ()
    source: ClassVar[str] = "from arrays"
    takes: ClassVar[str] = ARRAYS

    def fitted(self, trained: Trained, validation: Validation) -> ArrayFeed:
        """The network's own field, its shape, and what the tensorizer learnt."""
        batches = _some(validation, trained.device)
        ending = PADDING_SUFFIX
        read = [one for one in fields_read(trained, batches[0]) if not one.endswith(ending)]
        name = read[0] if read and self.spec.name not in read else self.spec.name
        x = batches[0].get(name)
        if not isinstance(x, Tensor) or x.dtype not in _DTYPES:
            kind = (
                str(x.dtype).removeprefix("torch.") if isinstance(x, Tensor) else type(x).__name__
            )
            raise UserError(
                f"the network's input {name} is {kind}, and artefacts take float32 or int64 arrays",
                where=array_spec_of(trained.stage, name).where,
                todo="Have the tensorizer make one of these.",
            )
        filled = next((one for one in batches if f"{name}{ending}" in one), None)
        declared = _ragged_axis(trained, name)
        cut: tuple[int, ...] = ()
        if filled is not None and f"{name}{ending}" in fields_read(trained, filled):
            cut = _filled_axes(filled[name], filled[f"{name}{ending}"], declared)
        spec = replace(
            array_spec_of(trained.stage, name),
            unpadded=cut,
            learnt=_plain((trained.state.get("learnt") or {}).get(name)),
        )
        rows = [row for one in batches for row in _rows(one, spec)]
        lengths = zip(*(row.shape for row in rows), strict=True)
        free = {axis for axis, found in enumerate(lengths) if len(set(found)) > 1}
        free |= set() if declared is None else {declared}
        spec = replace(spec, example=tuple(int(length) for length in rows[0].shape))
        return ArrayFeed(spec, tuple(sorted(axis + 1 for axis in free)))

    def rows(self, validation: Validation, batch: Batch, takes: str) -> list[NDArray[Any]]:
        return _rows(batch, self.spec)

    def pixels(self, validation: Validation, batch: Batch, place: int) -> None:
        return None

    def sample(self, trained: Trained, count: int, takes: str) -> Iterator[Tensor]:
        training = Validation.of_training(trained, count)
        try:
            for batch in training.batches(trained.device):
                for _, some in groupby(_rows(batch, self.spec), key=lambda row: row.shape):
                    alike = torch.from_numpy(np.stack(list(some)))
                    yield from torch.split(alike, _TOGETHER)
        finally:
            training.close()


def _some(validation: Validation, device: torch.device) -> list[Batch]:
    """The first batches; at least one."""
    found, samples = [validation.first(device)], len(validation.names(validation.first(device)))
    for batch in islice(validation.batches(device), 1, None):
        if samples >= _LOOKED_AT:
            break
        found.append(batch)
        samples += len(validation.names(batch))
    return found


def _rows(batch: Batch, spec: ArraySpec) -> list[NDArray[Any]]:
    """The samples of a batch, without what fills it where the spec says so."""
    values = batch[spec.name].cpu().numpy()
    filling = batch.get(f"{spec.name}{PADDING_SUFFIX}") if spec.unpadded else None
    if filling is None:
        return list(values)
    real = ~filling.cpu().numpy()
    return [_cut(row, mine, spec.unpadded) for row, mine in zip(values, real, strict=True)]


def _cut(row: NDArray[Any], real: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """The part of a sample where something real stands; it begins where the sample begins."""
    for place, axis in enumerate(axes):
        others = tuple(other for other in range(real.ndim) if other != place)
        row = row.take(np.arange(int(real.any(axis=others).sum())), axis=axis)
    return np.ascontiguousarray(row)


def _filled_axes(x: Tensor, filling: Tensor, declared: int | None) -> tuple[int, ...]:
    """The axes of a sample that its filling speaks of."""
    count, shape = filling.ndim - 1, tuple(x.shape[1:])
    begins = [declared] if declared is not None and count == 1 else range(len(shape))
    fitting = (k for k in begins if shape[k : k + count] == tuple(filling.shape[1:]))
    first = next(fitting, 0)
    return tuple(range(first, first + count))


def _ragged_axis(trained: Trained, name: str) -> int | None:
    """The axis of a sample along which its tensorizer says that lengths differ."""
    node = array_spec_of(trained.stage, name).tensorizer
    made = trained.experiment.builder.build(node) if node is not None else None
    found = getattr(made, "ragged_dim", None)
    return found if isinstance(found, int) else None


def _plain(learnt: Any) -> Mapping[str, Any] | None:
    """What can stand in a file of plain values; nothing else is told."""
    try:
        return json.loads(json.dumps(learnt)) or None
    except (TypeError, ValueError):
        return None
