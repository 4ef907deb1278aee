"""Quantised after training: a calibration sample runs once, then rounding is fixed.

BatchNorm is folded by torchao first. What comes out is a program like the float one, with rounding
in it; each target lowers it, and it can be run by torch as the reference of them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor
from torch.export import Dim, export

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import MOST_AT_ONCE, Program
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import quiet


def quantised(program: Program, sample: Iterable[Tensor], scheme: Scheme) -> Program:
    """The program in 8-bit numbers, its ranges from these batches of inputs."""
    with quiet(), torch.no_grad():
        try:
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        except ImportError as error:
            raise UserError(
                "8-bit numbers need torchao", todo='Run: pip install "cvtrainer[int8]"'
            ) from error
        from cvtrainer.deploy.quantize.annotate import NetworkQuantizer

        prepared = prepare_pt2e(program.exported.module(), NetworkQuantizer(scheme))
        seen = 0
        for batch in sample:
            for rows in (batch,) if program.any_batch else torch.split(batch, 1):
                prepared(rows)
            seen += len(batch)
        if not seen:
            raise UserError("the calibration sample is empty, so no range is known")
        made = convert_pt2e(prepared)
        free = ({0: Dim("batch", min=1, max=MOST_AT_ONCE)},) if program.any_batch else None
        example = program.example
        if program.any_batch and len(example) == 1:
            example = example.repeat(2, *[1] * (example.ndim - 1))
        exported = export(made, (example,), dynamic_shapes=free, strict=False)
    return replace(program, exported=exported, example=example, precision="int8")
