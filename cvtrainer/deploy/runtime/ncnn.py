"""ncnn on the host's processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.runtime.runner import Arrays, one_by_one


class NcnnRunner:
    """See `runtime.runner.Runner`.

    It knows no batches, so arrays get their first length from the contract. Halves are used for
    nothing that is computed here: what is compared is the artefact, on any processor alike.
    """

    def __init__(self, artefact: Path, contract: Contract, *, threads: int = 1) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise UserError(
                "running ncnn artefacts needs ncnn",
                where=str(artefact),
                todo='Run: pip install "cvtrainer[ncnn]"',
            ) from error
        self._artefact = artefact
        self._mat = ncnn.Mat
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = threads
        self._net.opt.use_fp16_packed = False
        self._net.opt.use_fp16_storage = False
        self._net.opt.use_fp16_arithmetic = False
        files = [artefact / name for name in ("model.param", "model.bin")]
        if not all(one.is_file() for one in files):
            raise UserError("not a folder of model.param and model.bin", where=str(artefact))
        with silent():  # what it does not like goes to the terminal
            bad = self._net.load_param(str(files[0])) or self._net.load_model(str(files[1]))
        if bad:
            raise UserError("ncnn cannot open it", where=str(artefact))
        self._outputs = contract.outputs
        self._input = self._net.input_names()[0] if self._net.input_names() else ""
        if len(self._net.output_names()) != len(self._outputs):
            raise UserError("the contract names other outputs than it has", where=str(artefact))

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        return one_by_one(self._one, inputs, [port.name for port in self._outputs])

    def _one(self, row: NDArray[Any]) -> list[NDArray[Any]]:
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._mat(np.ascontiguousarray(row[0], np.float32)).clone())
        made = []
        for place, port in enumerate(self._outputs):
            bad, values = extractor.extract(f"out{place}")
            found = np.array(values)
            shape = [length or 1 for length in port.shape]
            if bad or found.size != np.prod(shape):
                what = f"ncnn gives {list(found.shape)} for {port.name}, not {shape}"
                raise UserError(what, where=str(self._artefact))
            made.append(found.reshape(shape))
        return made
