"""TensorRT: a folder of an ONNX file and the command that makes it an engine on the device.

An engine fits one kind of GPU and one version, so it is built where it shall run. Where `trtexec`
is on the path, that is here; the numbers are checked by ONNX Runtime, which reads the same file.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.artefact import remove_artefact
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.modelopt import write_rounded_onnx
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.runtime.onnx import OnnxRunner
from cvtrainer.deploy.targets.onnx import OnnxTarget
from cvtrainer.deploy.targets.target import Capabilities, Checked

GRAPH = "model.onnx"
ENGINE = "model.engine"
SCRIPT = "build.sh"
TOOL = "trtexec"
_BATCHES = {"min": 1, "opt": 8, "max": 32}
_FLAGS = {"fp32": ("--noTF32",), "fp16": ("--fp16",), "int8": ("--int8",)}
"""An engine of floats would round them to TF32 by default."""


class TensorrtTarget:
    """See `targets.target.Target` and `CheckingTarget`."""

    name: ClassVar[str] = "tensorrt"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".tensorrt",
        precisions=tuple(_FLAGS),
        any_batch=True,
        decodes=False,
        runs_here=False,
        extra="onnx",
        needs=OnnxTarget.capabilities.needs,
        takes_bytes=False,
        tools=("modelopt",),
        keeps=("torchao", "modelopt"),
        symmetric=True,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the folder, with the engine where its builder is there."""
        with TemporaryDirectory(prefix="cvtrainer-") as place:
            graph = Path(place) / GRAPH
            OnnxTarget().export(program, graph)
            if program.precision == "int8":
                _round_weights_inside(graph)
            assemble(graph, program, path)

    def export_quantised(
        self, program: Program, sample: Iterable[Tensor], scheme: Scheme, path: Path
    ) -> None:
        """Write the folder with a graph that modelopt rounds."""
        with TemporaryDirectory(prefix="cvtrainer-") as place:
            graph = Path(place) / GRAPH
            write_rounded_onnx(program, sample, scheme, graph)
            assemble(graph, program, path)

    def check(self, program: Program, path: Path) -> Checked:
        """Whether rounding in the graph is what TensorRT takes; the numbers by ONNX Runtime."""
        contract = Contract("onnx", program.precision, program.input, program.outputs, InputSpec())
        told = {
            "command": shlex.join(command(program)),
            "engine": "built, not run" if (path / ENGINE).is_file() else f"to be built by {SCRIPT}",
            "metrics": "the ONNX file's, by ONNX Runtime",
        }
        failures = tuple(_refused(path / GRAPH)) if program.precision == "int8" else ()
        return Checked(told, OnnxRunner(path / GRAPH, contract), failures)


def command(program: Program) -> list[str]:
    """What builds the engine, in the folder of the graph."""
    words = [TOOL, f"--onnx={GRAPH}", f"--saveEngine={ENGINE}", *_FLAGS[program.precision]]
    if program.any_batch:
        rest = "x".join(str(length) for length in program.input.shape[1:])
        words += [f"--{end}Shapes={program.input.name}:{n}x{rest}" for end, n in _BATCHES.items()]
    return words


def assemble(graph: Path, program: Program, path: Path) -> None:
    """The folder of a graph, its command and, where `trtexec` is there, its engine."""
    remove_artefact(path)
    path.mkdir()
    shutil.move(graph, path / GRAPH)
    words = command(program)
    script = path / SCRIPT
    script.write_text(f"#!/bin/sh\n# Where the engine shall run.\n{shlex.join(words)}\n")
    script.chmod(0o755)
    if shutil.which(TOOL) is None:
        return
    done = subprocess.run(words, cwd=path, capture_output=True, text=True)
    if done.returncode or not (path / ENGINE).is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "[E]" in line), lines[-1] if lines else "")
        raise UserError(
            f"{TOOL} built no engine: {said.strip() or f'exit code {done.returncode}'}",
            where=str(path),
            todo=f"Run {SCRIPT} there by hand for all that it says.",
        )


def _round_weights_inside(file: Path) -> None:
    """Let weights of 8 bits be floats that the graph rounds: the form that every version reads."""
    import onnx
    from onnx import numpy_helper

    model: Any = onnx.load(str(file))
    stored = {one.name: one for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        weight = stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weight is not None:
            scale = numpy_helper.to_array(stored[node.input[1]])
            values = numpy_helper.to_array(weight)
            axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
            if scale.ndim:
                scale = scale.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
            name = f"{weight.name}_float"
            floats = (values * scale).astype(scale.dtype)
            model.graph.initializer.append(numpy_helper.from_array(floats, name))
            model.graph.initializer.remove(weight)
            words = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            inputs = [name, *node.input[1:]]
            nodes.append(onnx.helper.make_node("QuantizeLinear", inputs, [node.input[0]], **words))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(file))


def _refused(file: Path) -> Iterator[str]:
    """What TensorRT would not take: it rounds around zero, and needs layers that are rounded."""
    import onnx
    from onnx import numpy_helper

    graph: Any = onnx.load(str(file)).graph
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    known |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    rounded = [
        node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    if not rounded:
        yield "nothing in the graph is rounded"
    for node in rounded:
        zero = known.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and (zero.any() or zero.dtype.name != "int8"):
            yield f"{node.name} has a zero point of {zero.ravel()[0]} in {zero.dtype.name}"
