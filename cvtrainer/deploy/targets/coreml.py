"""Core ML: an `.mlpackage` for Apple's devices, converted anywhere and run nowhere but there.

So it is not proven here. It is read again as the device will read it, and compared by its form:
ports, layers, and the shape of each layer's weights.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from torch.export import export

from cvtrainer.deploy.artefact import remove_artefact
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.targets.rewrites import with_picks, without_names
from cvtrainer.deploy.targets.target import Capabilities, Checked
from cvtrainer.deploy.unsupported import unsupported

_CAPTURED_INPUT = "x"
_GRAPH = "Data/com.apple.CoreML/model.mlmodel"
_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
_LAYERS = {
    "conv1d": "conv",
    "conv2d": "conv",
    "conv_transpose2d": "conv_transpose",
    "linear": "linear",
}
"""Operators with weights, and what they are called there."""
Shape = tuple[int, ...]


class CoremlTarget:
    """See `targets.target.Target` and `CheckingTarget`."""

    name: ClassVar[str] = "coreml"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".mlpackage",
        precisions=("fp32", "fp16"),
        any_batch=False,
        decodes=False,
        runs_here=False,
        extra="coreml",
        needs=("coremltools",),
        takes_bytes=False,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the folder; fp16 is what it computes with, too."""
        with silent(), TemporaryDirectory(prefix="cvtrainer-") as place:
            import coremltools
            import numpy as np

            halves = program.precision == "fp16"
            precision = coremltools.precision.FLOAT16 if halves else coremltools.precision.FLOAT32
            outputs = [
                coremltools.TensorType(name=port.name, dtype=np.float32) for port in program.outputs
            ]
            try:
                module = without_names(with_picks(program.exported.module()))
                made = coremltools.convert(
                    export(module, (program.example,), strict=False).run_decompositions({}),
                    outputs=outputs,
                    convert_to="mlprogram",
                    compute_precision=precision,
                    minimum_deployment_target=coremltools.target.iOS16,
                )
            except Exception as error:
                raise unsupported(self.name, program, error) from error
            spec = made.get_spec()
            coremltools.utils.rename_feature(spec, _CAPTURED_INPUT, program.input.name)
            folder = Path(place) / f"model{self.capabilities.suffix}"
            named = coremltools.models.MLModel(
                spec, weights_dir=made.weights_dir, skip_model_load=True
            )
            named.save(str(folder))
            remove_artefact(path)
            shutil.move(folder, path)

    def check(self, program: Program, path: Path) -> Checked:
        """Read the graph again and compare its form with the program's."""
        with silent():
            from coremltools.proto import Model_pb2

            read: Any = Model_pb2.Model()
            read.ParseFromString((path / _GRAPH).read_bytes())
        function = read.mlProgram.functions["main"]
        operators = function.block_specializations[function.opset].operations
        wanted, found = Counter(_layers(program)), Counter(_layers_there(operators))
        ports = [(program.input, read.description.input)]
        ports += [(port, read.description.output) for port in program.outputs]
        failures = [
            f"{port.name} is {_shape_of(port.name, there)}, in the trained model {port.shape}"
            for port, there in ports
            if _shape_of(port.name, there) != port.shape
        ]
        for kind, shape in (wanted - found) + (found - wanted):
            counts = f"{found[kind, shape]} times, in the trained model {wanted[kind, shape]}"
            failures.append(f"a {kind} with weights {list(shape)} is there {counts}")
        told = {
            "operators": sum(one.type != "const" for one in operators),
            "layers": sum(found.values()),
            "weights in bytes": (path / _WEIGHTS).stat().st_size,
        }
        return Checked(told, failures=tuple(failures))


def _layers(program: Program) -> Iterator[tuple[str, Shape]]:
    """Each call of an operator with weights."""
    for node in program.exported.graph.nodes:
        kind = _LAYERS.get(getattr(node.target, "_opname", ""))
        if kind is not None:
            yield kind, tuple(int(length) for length in node.args[1].meta["val"].shape)


def _layers_there(operators: Any) -> Iterator[tuple[str, Shape]]:
    shapes = {
        port.name: tuple(int(one.constant.size) for one in port.type.tensorType.dimensions)
        for one in operators
        for port in one.outputs
    }
    for one in operators:
        if one.type in _LAYERS.values():
            yield one.type, shapes[one.inputs["weight"].arguments[0].name]


def _shape_of(name: str, ports: Any) -> Shape | None:
    """None where it is not there."""
    for port in ports:
        if port.name == name:
            return tuple(int(length) for length in port.type.multiArrayType.shape)
    return None
