"""ExecuTorch: one `.pte` for phones and boards, through XNNPACK.

Rounded programs are lowered as they are: XNNPACK takes their scales. It takes one picture at a
time, and what a task reads in the outputs is done beside it.

Float programs get their BatchNorms folded here. The lowering would do it too, into the weights of
each layer once per norm: a layer that is called for maps of several sizes, with a norm for each,
ends up with all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch.export import ExportedProgram, export

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.folding import folded
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.targets.target import Capabilities
from cvtrainer.deploy.unsupported import unsupported


class ExecutorchTarget:
    """See `targets.target.Target`."""

    name: ClassVar[str] = "executorch"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".pte",
        precisions=("fp32", "int8"),
        any_batch=False,
        decodes=False,
        runs_here=True,
        extra="executorch",
        needs=("executorch",),
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the file."""
        with silent():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
                XnnpackPartitioner,
            )
            from executorch.exir import to_edge_transform_and_lower

            try:
                lowered = to_edge_transform_and_lower(
                    _without_norms(program), partitioner=[XnnpackPartitioner()]
                )
                made = lowered.to_executorch()
            except Exception as error:
                raise unsupported(self.name, program, _reason(program, error)) from error
            path.write_bytes(made.buffer)


def _reason(program: Program, error: Exception) -> Exception | str:
    """XNNPACK makes convolutions along one axis two-dimensional, and then misses their rounding."""
    steps = {node.target for node in program.exported.graph.nodes}
    if "should both be quantized" in str(error) and torch.ops.aten.conv1d.default in steps:
        return "XNNPACK has no 8-bit aten.conv1d"
    return error


def _without_norms(program: Program) -> ExportedProgram:
    """Rounded programs have none."""
    if program.precision != "fp32":
        return program.exported
    with torch.no_grad():
        return export(folded(program), (program.example,), strict=False)
