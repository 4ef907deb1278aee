"""What all artefacts of the same weights are compared with: computed once and kept in memory.

Batches, the inputs made of them or of their files, the trained model's outputs and its metrics. A
split that is too large for that is gone through again each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import shape_text
from cvtrainer.deploy.contract import Contract, Spec
from cvtrainer.jobs.export.feed import feed_of
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.protocols import Batch

_MOST_BYTES = 2**30


@dataclass
class Seen:
    """A batch of the split; `rows` are an artefact's inputs, by nothing but its contract."""

    batch: Batch
    names: list[str]
    outputs: dict[str, Tensor]
    rows: list[NDArray[Any]]
    by: tuple[Spec, str]


class Known:
    """Of one set of weights and one split."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._left = most_bytes
        self._kept: list[Seen] | None = None
        self.metrics: dict[frozenset[str], dict[str, float]] = {}
        """The trained model's, by the names of the outputs that were looked at."""

    def batches(
        self, graph: Graph, validation: Validation, contract: Contract, device: torch.device
    ) -> Iterator[Seen]:
        """Every batch with what is to be known of it."""
        by = (contract.spec, contract.takes)
        if self._kept is not None:
            for seen in self._kept:
                if seen.by != by:
                    seen.rows, seen.by = _rows(validation, seen.batch, contract), by
                yield seen
            return
        kept: list[Seen] = []
        for batch in validation.batches(device):
            names = validation.names(batch)
            rows = _rows(validation, batch, contract)
            seen = Seen(batch, names, graph.said(batch), rows, by)
            self._left -= _bytes_of(seen.batch) + _bytes_of(seen.outputs)
            self._left -= sum(one.nbytes for one in rows)
            if self._left >= 0:
                kept.append(seen)
            else:
                kept.clear()
            yield seen
        self._kept = kept if self._left >= 0 else None


def _rows(validation: Validation, batch: Batch, contract: Contract) -> list[NDArray[Any]]:
    """Of the shape that the artefact takes."""
    rows = feed_of(contract.spec).rows(validation, batch, contract.takes)
    wanted = contract.input.shape[1:]
    for place, row in enumerate(rows):
        lengths = zip(wanted, row.shape, strict=True) if len(wanted) == row.ndim else [(0, 1)]
        if not all(want in (None, have) for want, have in lengths):
            raise UserError(
                f"this sample is {shape_text(row)}, and the artefact takes "
                f"[{', '.join(str(one or 'any') for one in wanted)}]",
                where=validation.names(batch)[place],
                todo="Give all samples one shape in evaluation, or export anew.",
            )
    return rows


def _bytes_of(values: Any) -> int:
    """Of all tensors in it, at any depth."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    if isinstance(values, Mapping):
        return sum(_bytes_of(one) for one in values.values())
    if isinstance(values, list | tuple):
        return sum(_bytes_of(one) for one in values)
    return 0
