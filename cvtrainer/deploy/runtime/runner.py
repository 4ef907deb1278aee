"""An artefact that runs here, and which file of this room opens which target's artefacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
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
    "openvino": "cvtrainer.deploy.runtime.openvino:OpenvinoRunner",
    "executorch": "cvtrainer.deploy.torch_runtime.executorch:ExecutorchRunner",
    "torch": "cvtrainer.deploy.torch_runtime.inductor:InductorRunner",
    "litert": "cvtrainer.deploy.runtime.litert:LitertRunner",
    "ncnn": "cvtrainer.deploy.runtime.ncnn:NcnnRunner",
}
"""Target -> what runs its artefacts."""
OPTIMISED: dict[tuple[str, str], str] = {
    ("onnx", "int8"): "cvtrainer.deploy.runtime.onnx:optimised",
}
"""Target, precision -> the same artefacts as their runtime opens them unasked, where it then
computes something else than what is written."""
RUN_BY: dict[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "executorch": ("executorch", "torch"),
    "torch": ("torch",),
    "litert": ("ai_edge_litert",),
    "ncnn": ("ncnn",),
}
"""Target -> the modules that its runtime imports."""
MACHINE_CODE = ("torch",)
"""Targets whose artefacts are libraries: what is in them runs when they are opened."""
OWN_THREADS = ("executorch", "torch")
"""Targets whose runtimes do not heed `threads`: theirs are of a whole process, or in the file."""


def can_run(target: str) -> bool:
    """Whether artefacts of the target run here, with what is installed."""
    return target in RUNTIMES and all(find_spec(one) is not None for one in RUN_BY[target])


def outputs_of(runner: Runner, rows: Sequence[NDArray[Any]]) -> Arrays:
    """The outputs of such inputs, neighbours of one shape together; what does not depend on the
    number of inputs is there once."""
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row.shape)]
    made = [runner(np.stack(group)) for group in groups]
    if len(made) == 1:
        return made[0]
    counts = [len(group) for group in groups]
    return {
        name: np.concatenate([one[name] for one in made])
        if [len(np.atleast_1d(one[name])) for one in made] == counts
        else made[0][name]
        for name in made[0]
    }


def fed_to(
    run: Callable[[NDArray[Any]], Sequence[NDArray[Any]]],
    inputs: NDArray[Any],
    contract: Contract,
) -> Arrays:
    """The outputs by name of what runs a contract's graph: all inputs at once where it takes them
    so, else one after the other."""
    port, names = contract.input, [one.name for one in contract.outputs]
    fed = np.ascontiguousarray(inputs, dtype=port.dtype)
    if port.shape[0] is None:
        return dict(zip(names, run(fed), strict=True))
    return one_by_one(run, fed, names)


def one_by_one(
    run: Callable[[NDArray[Any]], Sequence[NDArray[Any]]],
    inputs: NDArray[Any],
    names: Sequence[str],
) -> Arrays:
    """The outputs of a batch from what takes one input at a time.

    An output that does not depend on the number of inputs, such as a grid of anchors, is there
    once.
    """
    made = [run(inputs[place : place + 1]) for place in range(len(inputs))]
    joined = [
        np.concatenate(parts) if parts[0].shape[:1] == (1,) else parts[0]
        for parts in zip(*made, strict=True)
    ]
    return dict(zip(names, joined, strict=True))


def runner_of(artefact: Path, contract: Contract, *, threads: int = 1) -> Runner:
    """The artefact, opened."""
    place = RUNTIMES.get(contract.target)
    if place is None:
        raise UserError(f"artefacts of {contract.target} do not run here", where=str(artefact))
    if not artefact.exists():
        raise UserError("no such artefact", where=str(artefact))
    return _made(place, artefact, contract, threads)


def optimised_runner_of(artefact: Path, contract: Contract) -> Runner | None:
    """The artefact as its runtime opens it unasked, where that makes a difference."""
    place = OPTIMISED.get((contract.target, contract.precision))
    return None if place is None else _made(place, artefact, contract, threads=1)


def _made(place: str, artefact: Path, contract: Contract, threads: int) -> Runner:
    module, _, attribute = place.partition(":")
    make: Callable[..., Runner] = getattr(import_module(module), attribute)
    return make(artefact, contract, threads=threads)
