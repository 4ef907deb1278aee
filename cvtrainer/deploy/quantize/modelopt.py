"""NVIDIA's quantiser, the other way to an 8-bit ONNX file for TensorRT.

It rounds the inputs and weights of layers and nothing between them. Its file is written by torch's
older exporter, the one that knows its operators. Ranges come from our calibrators.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.calibrators import span_of
from cvtrainer.deploy.quantize.histogram import Histogram
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.unsupported import unsupported

_OPSET = 18
SMALLEST = 1e-6
"""The range of what is always zero."""


def write_rounded_onnx(
    program: Program, sample: Iterable[Tensor], scheme: Scheme, path: Path
) -> None:
    """The outputs of the program, from a rounded copy of the module that it was captured from."""
    assert program.module is not None, "what is trained with rounding is not rounded again"
    with silent():
        try:
            from modelopt.torch import quantization
        except ImportError as error:
            raise UserError(
                "this quantiser needs nvidia-modelopt",
                where="--quantizer modelopt",
                todo='Run: pip install "cvtrainer[tensorrt]"',
            ) from error
        whole = copy.deepcopy(program.module).eval()
        whole.outputs = tuple(port.name for port in program.outputs)
        names = [program.input.name, *whole.outputs]
        with torch.no_grad():
            seen: dict[Any, Histogram] = {}
            quantization.quantize(
                whole.network,
                {**marks(scheme), "algorithm": "max"},
                lambda _: _look(whole, sample, seen),
            )
            _set_ranges(seen, scheme)
            free = {name: {0: "batch"} for name in names} if program.any_batch else None
            try:
                torch.onnx.export(
                    whole,
                    (program.example,),
                    str(path),
                    input_names=names[:1],
                    output_names=names[1:],
                    dynamic_axes=free,
                    opset_version=_OPSET,
                    dynamo=False,
                )
            except Exception as error:
                raise unsupported("modelopt", program, error) from error


def marks(scheme: Scheme) -> dict[str, Any]:
    """What is rounded, in modelopt's words; its ready-made lists leave out layers by names that
    language models have."""
    off = {"enable": False}
    weights = {"num_bits": 8, "axis": 0 if scheme.per_channel else None}
    left = [{"quantizer_name": f"{name}.*quantizer", **off} for name in sorted(scheme.float_layers)]
    norms = [
        {"quantizer_name": "*", "parent_class": f"nn.BatchNorm{kind}", **off}
        for kind in ("1d", "2d", "3d")
    ]
    marked = [
        {"quantizer_name": "*", **off},
        {"quantizer_name": "*weight_quantizer", "cfg": weights},
        {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": 8, "axis": None}},
    ]
    return {"quant_cfg": [*marked, *norms, *left]}


def _look(whole: nn.Module, sample: Iterable[Tensor], seen: dict[Any, Histogram]) -> None:
    """Run the sample; each place whose inputs are rounded has a histogram of them."""

    def note(quantizer: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.setdefault(quantizer, Histogram()).add(inputs[0].cpu())

    hooks = [
        one.register_forward_pre_hook(note)
        for name, one in whole.named_modules()
        if name.endswith("input_quantizer") and one.is_enabled
    ]
    for rows in sample:
        whole(rows)
    for hook in hooks:
        hook.remove()


def _set_ranges(seen: dict[Any, Histogram], scheme: Scheme) -> None:
    if not seen:
        raise UserError("the calibration sample is empty, so no range is known")
    for quantizer, histogram in seen.items():
        low, high = span_of(histogram, scheme.method, percentile=scheme.percentile, symmetric=True)
        quantizer.amax = torch.full_like(quantizer.amax, max(-low, high, SMALLEST))
