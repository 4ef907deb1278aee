"""OpenVINO on the host's processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.private import openvino_in_private
from cvtrainer.deploy.runtime.runner import Arrays, fed_to

XML = "model.xml"
"""The graph in the folder; what it holds of numbers lies beside it."""


class OpenvinoRunner:
    """See `runtime.runner.Runner`. Float networks run in 32 bits, whatever the processor likes."""

    def __init__(self, artefact: Path, contract: Contract, *, threads: int = 1) -> None:
        try:
            openvino = openvino_in_private()
        except ImportError as error:
            raise UserError(
                "running OpenVINO files needs openvino",
                where=str(artefact),
                todo='Run: pip install "cvtrainer[openvino]"',
            ) from error
        wishes = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        try:
            self._model = openvino.Core().compile_model(str(artefact / XML), "CPU", wishes)
        except Exception as error:  # the runtime's own class; the first line is where, not what
            raise UserError(
                f"OpenVINO cannot open it: {_reason(error)}", where=str(artefact)
            ) from error
        self._contract = contract
        if len(self._model.outputs) != len(contract.outputs):
            raise UserError("the contract names other outputs than it has", where=str(artefact))

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        return fed_to(self._run, inputs, self._contract)

    def _run(self, fed: NDArray[Any]) -> list[NDArray[Any]]:
        made = self._model(fed)
        return [np.array(made[place]) for place in range(len(self._contract.outputs))]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from")]
    return (told or lines or [type(error).__name__])[0]
