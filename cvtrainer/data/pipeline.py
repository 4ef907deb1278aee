"""One batch from its request: load, transform, tensorize, collate, in that order.

Everything here is a function of the request, so it runs in this process or in any worker with the
same result. A failure in a worker travels as a value and is raised again where the batch is used.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import LOAD_PLACE, DrawKey, seeded_globals
from cvtrainer.data.sample import Sample, as_sample
from cvtrainer.data.sampler import BatchRequest


class Dataset(Protocol):
    """Anything with a length that gives a record for a number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Transform = Callable[[Sample, DrawKey], Sample]
FieldsToTensors = Callable[[Sample], Sample]
CollateSamples = Callable[[Sequence[Sample]], Any]


@dataclass(frozen=True)
class Failure:
    """An exception on its way from a worker process to the process that trains."""

    user_error: tuple[str, str | None, str | None] | None
    pickled: bytes | None
    trace: str

    @staticmethod
    def of(error: Exception) -> Failure:
        """Pack that exception so that it survives the way."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, UserError):
            return Failure((error.what, error.where, error.todo), None, trace)
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)
        except Exception:
            return Failure(None, None, trace)
        return Failure(None, pickled, trace)

    def exception(self) -> Exception:
        """The exception to raise; a user's own keeps the worker's traceback as a note."""
        if self.user_error is not None:
            what, where, todo = self.user_error
            return UserError(what, where=where, todo=todo)
        if self.pickled is None:
            return RuntimeError(f"a data worker failed:\n{self.trace}")
        error: Exception = pickle.loads(self.pickled)
        error.add_note(f"Traceback in the data worker:\n{self.trace}")
        return error


class BatchMaker:
    """Makes the batch of a request; also what worker processes hold as their data set."""

    def __init__(
        self,
        dataset: Dataset,
        transforms: Transform | None,
        tensorizer: FieldsToTensors | None,
        collate: CollateSamples,
        *,
        seed: int,
    ) -> None:
        self.dataset = dataset
        self.transforms = transforms
        self.tensorizer = tensorizer
        self.collate = collate
        self.seed = seed
        self._name = type(dataset).__name__
        self._seeds_loading = bool(getattr(dataset, "draws_randomly", True))

    def make(self, request: BatchRequest) -> Any:
        """The batch of that request."""
        samples = [
            self._sample(index, DrawKey(self.seed, request.epoch, position))
            for position, index in zip(request.positions, request.indices, strict=True)
        ]
        batch = self.collate(samples)
        if request.weight != 1.0 and isinstance(batch, dict):
            batch["meta"] = {**(batch.get("meta") or {}), "weight": request.weight}
        return batch

    def __getitems__(self, request: BatchRequest) -> Any:
        """What a worker answers: the batch, or the failure as a value."""
        try:
            return self.make(request)
        except Exception as error:
            return Failure.of(error)

    def _sample(self, index: int, key: DrawKey) -> Sample:
        where = f"{self._name}[{index}]"
        try:
            seeded = seeded_globals(key.at(LOAD_PLACE)) if self._seeds_loading else nullcontext()
            with seeded:
                sample = as_sample(self.dataset[index], index, self._name)
            where = _file_of(sample, where)
            if self.transforms is not None:
                sample = self.transforms(sample, key)
            if self.tensorizer is not None:
                sample = self.tensorizer(sample)
        except UserError:
            raise
        except Exception as error:
            error.add_note(f"while making sample {index} ({where})")
            raise
        return sample


def _file_of(sample: Mapping[str, Any], otherwise: str) -> str:
    return str((sample.get("meta") or {}).get("path", otherwise))
