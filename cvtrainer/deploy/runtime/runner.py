"""An artefact that runs here, and which file of this room opens which target's artefacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract

Arrays = dict[str, NDArray[Any]]


class Runner(Protocol):
    """Gives the outputs by name for a batch of inputs."""

    def __call__(self, inputs: NDArray[Any]) -> Arrays: ...


RUNTIMES: dict[str, str] = {
    "onnx": "cvtrainer.deploy.runtime.onnx:OnnxRunner",
    "litert": "cvtrainer.deploy.runtime.litert:LitertRunner",
}
"""Target -> what runs its artefacts."""


def outputs_of(runner: Runner, rows: Sequence[NDArray[Any]]) -> Arrays:
    """The outputs of such inputs, neighbours of one shape together."""
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row.shape)]
    made = [runner(np.stack(group)) for group in groups]
    return {name: np.concatenate([one[name] for one in made]) for name in made[0]}


def runner_of(artefact: Path, contract: Contract, *, threads: int = 1) -> Runner:
    """The artefact, opened."""
    place = RUNTIMES.get(contract.target)
    if place is None:
        raise UserError(f"artefacts of {contract.target} do not run here", where=str(artefact))
    if not artefact.exists():
        raise UserError("no such artefact", where=str(artefact))
    module, _, attribute = place.partition(":")
    make: Callable[..., Runner] = getattr(import_module(module), attribute)
    return make(artefact, contract, threads=threads)
