"""Quantised after training: a calibration sample runs once, then rounding is fixed.

BatchNorm is folded by torchao first. What comes out is a program like the float one, with rounding
in it; each target lowers it, and it can be run by torch as the reference of them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.export import export
from torch.fx import GraphModule

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Program, dims_of
from cvtrainer.deploy.quantize.bias import channel_means, correct_biases, those_that_fit
from cvtrainer.deploy.quantize.equalise import equalise
from cvtrainer.deploy.quantize.folding import folded
from cvtrainer.deploy.quantize.layers import give_biases
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.switches import switched
from cvtrainer.deploy.quiet import quiet

if TYPE_CHECKING:  # it needs torchao
    from cvtrainer.deploy.quantize.measured import Measured


class Rounded:
    """A program with its rounding in place: it can be run, and become a program again."""

    def __init__(self, program: Program, prepared: GraphModule) -> None:
        self._program = program
        self._prepared = prepared

    @contextmanager
    def running(self) -> Iterator[GraphModule]:
        """A module that computes what the finished program does, in less time."""
        with switched(self._prepared, on=True):
            yield self._prepared

    def program(self) -> Program:
        """For targets; what ran before is used up."""
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

        program, example = self._program, self._program.example
        with quiet(), torch.no_grad():
            made = convert_pt2e(self._prepared)
            if program.any_batch and len(example) == 1:
                example = example.repeat(2, *[1] * (example.ndim - 1))
            dims = dims_of(program.input)
            exported = export(made, (example,), dynamic_shapes=dims, strict=False)
        return replace(program, exported=exported, example=example, precision="int8")


def quantised(
    program: Program,
    sample: Iterable[Tensor],
    scheme: Scheme,
    measured: Measured | None = None,
) -> Program:
    """The program in 8-bit numbers, its ranges from these batches of inputs."""
    return rounded(program, sample, scheme, measured).program()


def rounded(
    program: Program,
    sample: Iterable[Tensor],
    scheme: Scheme,
    measured: Measured | None = None,
) -> Rounded:
    """The same before it is lowered; `measured` remembers what the sample showed."""
    if find_spec("torchao") is None:
        raise UserError("8-bit numbers need torchao", todo='Run: pip install "cvtrainer[int8]"')
    with quiet(), torch.no_grad():
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
        prepared = calibrated(module, batches, scheme, measured)
        if means:
            with switched(prepared, on=True):
                correct_biases(prepared, means, few)
    return Rounded(program, prepared)


def calibrated(
    module: GraphModule,
    batches: Iterable[Tensor],
    scheme: Scheme,
    measured: Measured | None = None,
) -> GraphModule:
    """The folded graph with an observer at each place that is rounded, after the sample ran."""
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    from cvtrainer.deploy.quantize.annotate import NetworkQuantizer
    from cvtrainer.deploy.quantize.measured import Measured

    try:
        prepared: GraphModule = prepare_pt2e(module, NetworkQuantizer(scheme))
    except Exception as error:  # it has norms of its own to fold, and knows few forms of them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"torchao cannot round this network: {reason}",
            todo="Look at layers whose weights depend on the input, and norms that compute with "
            "the batch.",
        ) from error
    (measured or Measured()).give(prepared, batches, equalised=scheme.equalise)
    return prepared


def rows_of(program: Program, sample: Iterable[Tensor]) -> Iterable[Tensor]:
    """The sample in batches that the program takes."""
    for batch in sample:
        yield from (batch,) if program.any_batch else torch.split(batch, 1)
