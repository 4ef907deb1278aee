"""Packages of AOTInductor: machine code for this kind of processor, loaded by torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.runtime.runner import Arrays, fed_to


class InductorRunner:
    """See `runtime.runner.Runner`. torch has one number of threads for a whole process, so
    `threads` is not heeded."""

    def __init__(self, artefact: Path, contract: Contract, *, threads: int = 1) -> None:
        try:
            with silent():
                import torch
                from torch._inductor import aoti_load_package
        except ImportError as error:
            raise UserError(
                "running .pt2 files needs torch", where=str(artefact), todo="Run: pip install torch"
            ) from error
        self._torch = torch
        try:
            with silent():  # it looks for a CUDA runtime and says so
                self._model = aoti_load_package(str(artefact))
        except Exception as error:  # whatever its C++ parts make of a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"torch cannot open it: {reason}", where=str(artefact)) from error
        self._contract = contract
        self._artefact = artefact

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        return fed_to(self._run, inputs, self._contract)

    def _run(self, fed: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            with self._torch.no_grad():
                return [one.numpy() for one in self._model(self._torch.from_numpy(fed))]
        except RuntimeError as error:  # kernels that are not there show only now, with a page
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"torch cannot run it: {reason}", where=str(self._artefact)) from error
