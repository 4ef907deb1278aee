"""ONNX Runtime on the host's processor.

Graph optimisations that change numbers are left out: what is compared here is the artefact, not
what one runtime makes of it. `optimised` opens it as the runtime itself would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract, Port
from cvtrainer.deploy.private import onnxruntime_in_private
from cvtrainer.deploy.runtime.runner import Arrays, fed_to

_CHANGE_NUMBERS = ["WeightBiasQuantization"]
"""Of the optimisations that are left: this one rounds biases, which the artefact has as floats."""

_FLOATS = {"float32": "float", "float64": "double"}


class OnnxRunner:
    """See `runtime.runner.Runner`."""

    def __init__(
        self, artefact: Path, contract: Contract, *, threads: int = 1, as_written: bool = True
    ) -> None:
        try:
            onnxruntime = onnxruntime_in_private()
        except ImportError as error:
            raise UserError(
                "running ONNX files needs onnxruntime",
                where=str(artefact),
                todo='Run: pip install "cvtrainer[onnx]"',
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if as_written:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(artefact),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_CHANGE_NUMBERS if as_written else [],
            )
        except Exception as error:  # the runtime's own classes, one per kind of damage
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"ONNX Runtime cannot open it: {reason}", where=str(artefact)
            ) from error
        for what, there, told in (
            ("input", self._session.get_inputs(), (contract.input,)),
            ("output", self._session.get_outputs(), contract.outputs),
        ):
            kinds = {one.name: one.type for one in there}
            if any(kinds.get(port.name) != _kind(port) for port in told):
                raise UserError(
                    f"the contract names another {what} than it has", where=str(artefact)
                )
        self._contract = contract
        self._outputs = [port.name for port in contract.outputs]

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        return fed_to(self._run, inputs, self._contract)

    def _run(self, fed: NDArray[Any]) -> list[NDArray[Any]]:
        made: list[NDArray[Any]] = self._session.run(
            self._outputs, {self._contract.input.name: fed}
        )
        return made


def optimised(artefact: Path, contract: Contract, *, threads: int = 1) -> OnnxRunner:
    """The artefact as a session opens it that nobody asked for anything."""
    return OnnxRunner(artefact, contract, threads=threads, as_written=False)


def _kind(port: Port) -> str:
    """What ONNX Runtime calls a port's numbers."""
    return f"tensor({_FLOATS.get(port.dtype, port.dtype)})"
