"""What all artefacts of the same weights are compared with: computed once and kept in memory.

Batches, the inputs made of their files, the trained model's outputs and its metrics. A split that
is too large for that is gone through again each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.export.validation import Validation, picture_inputs
from cvtrainer.protocols import Batch

_MOST_BYTES = 2**30


@dataclass
class Seen:
    """A batch of the split; `rows` are an artefact's inputs, by nothing but its contract."""

    batch: Batch
    names: list[str]
    outputs: dict[str, Tensor]
    rows: list[NDArray[Any]]
    by: tuple[InputSpec, str]


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
                    files = validation.files(seen.batch)
                    seen.rows, seen.by = _rows(files, seen.names, contract), by
                yield seen
            return
        kept: list[Seen] = []
        for batch in validation.batches(device):
            names = validation.names(batch)
            rows = _rows(validation.files(batch), names, contract)
            seen = Seen(batch, names, graph.compute(batch[validation.name]), rows, by)
            self._left -= _bytes_of(seen.batch) + _bytes_of(seen.outputs)
            self._left -= sum(one.nbytes for one in rows)
            if self._left >= 0:
                kept.append(seen)
            else:
                kept.clear()
            yield seen
        self._kept = kept if self._left >= 0 else None


def _rows(files: list[bytes], names: list[str], contract: Contract) -> list[NDArray[Any]]:
    pairs = zip(files, names, strict=True)
    return [picture_inputs(data, name, contract.spec, contract.takes) for data, name in pairs]


def _bytes_of(values: Any) -> int:
    """Of all tensors in it, at any depth."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    if isinstance(values, Mapping):
        return sum(_bytes_of(one) for one in values.values())
    if isinstance(values, list | tuple):
        return sum(_bytes_of(one) for one in values)
    return 0
