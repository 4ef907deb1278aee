"""ONNX: one file with everything in it, read by ONNX Runtime and by most tools of chip makers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quiet import quiet
from cvtrainer.deploy.targets.target import Capabilities
from cvtrainer.deploy.unsupported import unsupported

_OPSET = 18
"""The first with an antialiased resize; newer ones bring nothing that small models need."""


class OnnxTarget:
    """See `targets.target.Target`."""

    name: ClassVar[str] = "onnx"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".onnx",
        precisions=("fp32", "int8"),
        any_batch=True,
        decodes=True,
        runs_here=True,
        extra="onnx",
        needs=("onnx", "onnxscript", "onnxruntime"),
        keeps=("torchao", "modelopt"),
        any_size=True,
        any_length=True,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the file."""
        try:
            with quiet():
                made = torch.onnx.export(
                    program.exported,
                    (program.example,),
                    input_names=[program.input.name],
                    output_names=[port.name for port in program.outputs],
                    opset_version=_OPSET,
                    dynamo=True,
                    verbose=False,
                )
        except Exception as error:
            raise unsupported(self.name, program, error) from error
        assert made is not None
        _forget_origins(made.model)
        made.save(str(path), external_data=False)


def _forget_origins(model: Any) -> None:
    """Where in somebody's source each node came from is long, and nobody's business on a device."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
        for value in graph.initializers.values():
            value.metadata_props.clear()
