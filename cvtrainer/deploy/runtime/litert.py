"""LiteRT, once TensorFlow Lite, on the host's processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.runtime.runner import Arrays, one_by_one


class LitertRunner:
    """See `runtime.runner.Runner`.

    Ports of 8-bit numbers are fed and read by the scale that the file gives them.
    """

    def __init__(self, artefact: Path, contract: Contract, *, threads: int = 1) -> None:
        try:
            with silent():
                from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(
                "running LiteRT files needs ai-edge-litert",
                where=str(artefact),
                todo='Run: pip install "cvtrainer[litert]"',
            ) from error
        try:
            with silent():  # it tells which delegate it made
                self._opened = Interpreter(model_content=artefact.read_bytes(), num_threads=threads)
                self._opened.allocate_tensors()
                self._run = self._opened.get_signature_runner()
        except Exception as error:  # whatever its C++ parts make of a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"LiteRT cannot open it: {reason}", where=str(artefact)) from error
        ((self._input, self._given),) = self._run.get_input_details().items()
        self._made: dict[str, Any] = self._run.get_output_details()
        self._names = [port.name for port in contract.outputs]
        if len(self._made) != len(self._names):
            raise UserError("the contract names other outputs than it has", where=str(artefact))

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        return one_by_one(self._one, inputs, self._names)

    def _one(self, row: NDArray[Any]) -> list[NDArray[Any]]:
        made = self._run(**{self._input: _rounded(row, self._given)})
        ordered = sorted(made, key=lambda word: int(word.rpartition("_")[2]))
        return [_real(made[word], self._made[word]) for word in ordered]


def _rounded(values: NDArray[Any], port: dict[str, Any]) -> NDArray[Any]:
    """As a port of 8-bit numbers takes them; others take them as they are."""
    dtype = np.dtype(port["dtype"])
    scale, zero = port["quantization"]
    if not scale:
        return np.ascontiguousarray(values, dtype=dtype)
    limits = np.iinfo(dtype)
    made: NDArray[Any] = np.clip(np.round(values / scale) + zero, limits.min, limits.max)
    return made.astype(dtype)


def _real(values: NDArray[Any], port: dict[str, Any]) -> NDArray[Any]:
    scale, zero = port["quantization"]
    if not scale:
        return values
    made: NDArray[Any] = (values.astype(np.float32) - zero) * np.float32(scale)
    return made
