"""Quantised after training: a calibration sample runs once, then rounding is fixed.

BatchNorm is folded by torchao first. What comes out is a program like the float one, with rounding
in it; each target lowers it, and it can be run by torch as the reference of them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor
from torch.export import export
from torch.fx import GraphModule

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Program, batch_dims
from cvtrainer.deploy.quantize.bias import channel_means, correct_biases, those_that_fit
from cvtrainer.deploy.quantize.equalise import equalise
from cvtrainer.deploy.quantize.layers import folded, give_biases
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import quiet


def quantised(program: Program, sample: Iterable[Tensor], scheme: Scheme) -> Program:
    """The program in 8-bit numbers, its ranges from these batches of inputs."""
    with quiet(), torch.no_grad():
        try:
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e
        except ImportError as error:
            raise UserError(
                "8-bit numbers need torchao", todo='Run: pip install "cvtrainer[int8]"'
            ) from error
        batches = rows_of(program, sample)
        module = folded(program)
        if scheme.equalise:
            equalise(module)
        means: dict[str, Tensor] = {}
        few: list[Tensor] = []
        if scheme.correct_bias:
            batches = list(batches)
            few = list(those_that_fit(module, batches))
            give_biases(module)
            means = channel_means(module, few)
        made = convert_pt2e(calibrated(module, batches, scheme))
        if means:
            correct_biases(made, means, few)
        example = program.example
        if program.any_batch and len(example) == 1:
            example = example.repeat(2, *[1] * (example.ndim - 1))
        exported = export(
            made, (example,), dynamic_shapes=batch_dims(program.any_batch), strict=False
        )
    return replace(program, exported=exported, example=example, precision="int8")


def calibrated(module: GraphModule, batches: Iterable[Tensor], scheme: Scheme) -> GraphModule:
    """The folded graph with an observer at each place that is rounded, after the sample ran."""
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    from cvtrainer.deploy.quantize.annotate import NetworkQuantizer

    prepared: GraphModule = prepare_pt2e(module, NetworkQuantizer(scheme))
    seen = 0
    for rows in batches:
        prepared(rows)
        seen += len(rows)
    if not seen:
        raise UserError("the calibration sample is empty, so no range is known")
    return prepared


def rows_of(program: Program, sample: Iterable[Tensor]) -> Iterable[Tensor]:
    """The sample in batches that the program takes."""
    for batch in sample:
        yield from (batch,) if program.any_batch else torch.split(batch, 1)
