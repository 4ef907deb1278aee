"""OpenVINO: a folder of a graph, `model.xml`, and its numbers, `model.bin`; for Intel's processors.

The converter reads captured programs, rounded ones included, so 8-bit files hold the same scales
as everybody's; OpenVINO fuses them into its integer kernels when it opens the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.export import Dim, ExportedProgram, export
from torch.fx import Node

from cvtrainer.deploy.artefact import remove_artefact
from cvtrainer.deploy.private import openvino_in_private
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.layers import tensor_at
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.runtime.openvino import XML
from cvtrainer.deploy.targets.target import Capabilities
from cvtrainer.deploy.unsupported import unsupported

_UNROUND = "quantized_decomposed.dequantize"


class OpenvinoTarget:
    """See `targets.target.Target`."""

    name: ClassVar[str] = "openvino"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".openvino",
        precisions=("fp32", "int8"),
        any_batch=True,
        decodes=True,
        runs_here=True,
        extra="openvino",
        needs=("openvino",),
        any_length=True,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the folder."""
        with silent():
            openvino = openvino_in_private()
            try:
                made = openvino.convert_model(_with_plain_weights(program))
                lengths = [-1 if length is None else length for length in program.input.shape]
                made.reshape(lengths)
            except Exception as error:
                raise unsupported(self.name, program, _told(error)) from error
            _name_ports(made, program)
            remove_artefact(path)
            path.mkdir(parents=True)
            openvino.save_model(made, str(path / XML), compress_to_fp16=False)


def _told(error: Exception) -> Exception | str:
    """Of a report on operators the lines that name them; the first says where in its own source."""
    lines = [line[3:] for line in str(error).splitlines() if line.startswith("-- ")]
    return "\n".join(line.removesuffix(" with a message:") for line in lines) or error


def _with_plain_weights(program: Program) -> ExportedProgram:
    """The program, its 8-bit weights made floats by a product instead of an operator for that.

    The converter takes that operator for the end of a rounding, which weights have behind them.
    """
    module: Any = program.exported.module()
    found = [node for node in module.graph.nodes if _is_unrounded_weight(node)]
    if not found:
        return program.exported
    for node in found:
        weight, scale = node.args[:2]
        with module.graph.inserting_before(node):
            made = module.graph.call_function(torch.ops.aten.to.dtype, (weight, torch.float32))
            if isinstance(scale, Node):
                shape = [-1, *[1] * (tensor_at(module, weight).ndim - 1)]
                scale = module.graph.call_function(torch.ops.aten.reshape.default, (scale, shape))
            made = module.graph.call_function(torch.ops.aten.mul.Tensor, (made, scale))
        node.replace_all_uses_with(made)
        module.graph.erase_node(node)
    module.recompile()
    dims = {k: Dim.DYNAMIC for k, length in enumerate(program.input.shape) if length is None}
    return export(module, (program.example,), dynamic_shapes=(dims,), strict=False)


def _is_unrounded_weight(node: Node) -> bool:
    """Symmetric, along the first axis: see `quantize.scheme.Scheme`."""
    first = node.args[0] if node.args else None
    return (
        str(node.target).startswith(_UNROUND) and isinstance(first, Node) and first.op == "get_attr"
    )


def _name_ports(made: Any, program: Program) -> None:
    """By the names of the contract, for those who open the file themselves."""
    made.inputs[0].get_tensor().set_names({program.input.name})
    for port, output in zip(program.outputs, made.outputs, strict=True):
        output.get_tensor().add_names({port.name})
