"""LiteRT, once TensorFlow Lite: one `.tflite` for phones, boards and microcontrollers.

Its converter reads no rounded programs, so 8-bit files are made by its own quantiser from the float
file. Ranges come from our calibrators, which see every tensor of that file on the sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.calibrators import span_of
from cvtrainer.deploy.quantize.histogram import Histogram
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.targets.rewrites import with_picks
from cvtrainer.deploy.targets.target import Capabilities
from cvtrainer.deploy.unsupported import unsupported

_EVERY = ".*"
_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")


class LitertTarget:
    """See `targets.target.Target` and `QuantisingTarget`."""

    name: ClassVar[str] = "litert"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".tflite",
        precisions=("fp32", "int8"),
        any_batch=False,
        decodes=False,
        runs_here=True,
        extra="litert",
        needs=("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        own_int8=True,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the float file."""
        with silent():
            import litert_torch

            try:
                module = with_picks(program.exported.module())
                made = litert_torch.convert(module, (program.example,))
            except Exception as error:
                raise unsupported(self.name, program, error) from error
            made.export(str(path))

    def export_quantised(
        self, program: Program, sample: Iterable[Tensor], scheme: Scheme, path: Path
    ) -> None:
        """Write the file of 8-bit numbers; what goes in and comes out of it stays float."""
        with TemporaryDirectory(prefix="cvtrainer-") as folder:
            plain = Path(folder) / "float.tflite"
            self.export(program, plain)
            path.write_bytes(rounded(plain, sample, scheme))


def rounded(plain: Path, sample: Iterable[Tensor], scheme: Scheme) -> bytes:
    """A float file in 8-bit numbers."""
    with silent():
        rows = (row for batch in sample for row in torch.split(batch, 1))
        try:
            ranges = _ranges(plain, rows, scheme)
            made = _quantiser(plain, scheme).quantize(ranges) if ranges else None
        except (ValueError, RuntimeError) as error:  # what the quantiser and the runtime raise
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"LiteRT's quantiser cannot round this network: {reason}") from error
    if made is None:
        raise UserError("the calibration sample is empty, so no range is known")
    return bytes(made.quantized_model)


def _quantiser(plain: Path, scheme: Scheme) -> Any:
    """8 bits for all that has them but the borders and what follows the last layers; weights by
    the scheme."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName

    made = quantizer.Quantizer(str(plain))
    grain = QuantGranularity.CHANNELWISE if scheme.per_channel else QuantGranularity.TENSORWISE
    made.add_static_config(_EVERY, TFLOperationName.ALL_SUPPORTED, 8, 8, weight_granularity=grain)
    for border in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        made.update_quantization_recipe(
            regex=_EVERY, operation_name=border, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    for scope in _behind_the_layers(plain):
        made.update_quantization_recipe(
            regex=scope,
            operation_name=TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    return made


def _behind_the_layers(plain: Path) -> list[str]:
    """Operators from which no layer is reached, as the quantiser calls them.

    There a task makes boxes and the like of a head's numbers, of which 256 would be too few: a
    picture has more places.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flat

    layers = {getattr(BuiltinOperator, name) for name in _LAYERS}
    model = flat.read_model(str(plain))
    kinds = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in model.operatorCodes]
    (graph,) = model.subgraphs
    leads: set[int] = set()
    behind = []
    for operator in reversed(graph.operators):
        if kinds[operator.opcodeIndex] in layers or not leads.isdisjoint(operator.outputs):
            leads.update(operator.inputs)
        else:
            behind.append(f"^{re.escape(flat.get_op_scope(operator, graph.tensors))}$")
    return behind


def _ranges(plain: Path, rows: Iterable[Tensor], scheme: Scheme) -> dict[str, dict[str, Any]]:
    """Of each tensor that is rounded, by its name, as the quantiser wants them told.

    Its own calibration keeps a moving mean of extremes; it is asked once, for which tensors.
    """
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(str(plain), experimental_preserve_all_tensors=True, num_threads=1)
    opened.allocate_tensors()
    (given,) = opened.get_input_details()
    (signature,) = opened.get_signature_list().items()
    ranges: dict[str, dict[str, Any]] = {}
    seen: dict[str, Histogram] = {}
    where = {str(one["name"]): int(one["index"]) for one in opened.get_tensor_details()}
    for row in rows:
        values = np.ascontiguousarray(row.cpu().numpy(), given["dtype"])
        if not ranges:
            once = {signature[0]: [{signature[1]["inputs"][0]: values}]}
            ranges = _quantiser(plain, scheme).calibrate(once, num_threads=1)
            seen = {name: Histogram() for name in ranges if name in where}
        opened.set_tensor(given["index"], values)
        opened.invoke()
        for name, histogram in seen.items():
            histogram.add(torch.from_numpy(opened.get_tensor(where[name])))
    for name, histogram in seen.items():
        low, high = span_of(histogram, scheme.method, percentile=scheme.percentile)
        shape = ranges[name]["min"].shape
        ranges[name]["min"] = np.full(shape, low, np.float32)
        ranges[name]["max"] = np.full(shape, high, np.float32)
    return ranges
