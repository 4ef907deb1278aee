"""ExecuTorch on the host's processor, through its bindings for Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.runtime.runner import Arrays, fed_to


class ExecutorchRunner:
    """See `runtime.runner.Runner`. Its threads are those of its own pool, so `threads` is not
    heeded."""

    def __init__(self, artefact: Path, contract: Contract, *, threads: int = 1) -> None:
        try:
            with silent():
                import torch
                from executorch.runtime import Runtime, Verification
        except ImportError as error:
            raise UserError(
                "running ExecuTorch files needs executorch, and torch",
                where=str(artefact),
                todo='Run: pip install "cvtrainer[executorch]"',
            ) from error
        self._tensor = torch.from_numpy
        self._held = artefact.read_bytes()
        try:
            with silent():  # it tells what it looks for on the processor
                # The method reads in both, and holds neither.
                self._program = Runtime.get().load_program(
                    self._held, verification=Verification.InternalConsistency
                )
                self._method = self._program.load_method("forward")
        except Exception as error:  # whatever its C++ parts make of a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"ExecuTorch cannot open it: {reason}", where=str(artefact)) from error
        self._contract = contract

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        return fed_to(self._run, inputs, self._contract)

    def _run(self, fed: NDArray[Any]) -> list[NDArray[Any]]:
        # What it gives lies in its own memory, which the next input writes over.
        return [np.array(one.numpy()) for one in self._method.execute([self._tensor(fed)])]
