"""The program of a network that was trained with rounding: converted, not quantised once more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.quantize.scheme import TOOL
from cvtrainer.deploy.quiet import quiet
from cvtrainer.deploy.targets.target import Target
from cvtrainer.experiment.aware import WORD, rounding_in
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.load import Trained


def rounded_program(
    trained: Trained, graph: Graph, x: Tensor, *, name: str, free: Collection[int] = ()
) -> Program | None:
    """In the numbers of training, which are those of its evaluation; None for a float network."""
    found = rounding_in(trained.task)
    if found is None:
        return None
    room = found[1]
    with quiet():
        made = room.converted(tuple(x.shape[1:]))
        with room.standing_in(made):
            outputs = list(graph.compute(x))
            program = captured(Deployable(made, graph.compute, outputs), x, name=name, free=free)
    return replace(program, precision="int8")


@contextmanager
def without_rounding(trained: Trained) -> Iterator[None]:
    """The network in floats for a while, for what only looks at its layers."""
    found = rounding_in(trained.task)
    if found is None:
        yield
        return
    with found[1].in_floats():
        yield


def refuse_other_numbers(trained: Trained, target: Target, precision: str, asked: str) -> None:
    """What would not be the network that was trained; `asked` is the quantizer that is named."""
    stage = trained.stage
    tool = stage[WORD]["quantizer"]
    if precision != "int8":
        raise UserError(
            f"stage {stage['name']} was trained with 8-bit rounding, so there is no {precision} "
            "of it",
            where="--precision",
            todo="Write --precision int8, or export a checkpoint of a stage before.",
        )
    if target.capabilities.own_int8:
        raise UserError(
            f"{target.name} finds ranges of its own and would not keep those of training",
            where="--target",
            todo="Take another target, or export a checkpoint of a stage before.",
        )
    if asked not in (TOOL, tool):
        raise UserError(
            f"stage {stage['name']} was trained with the rounding of {tool}, not {asked}",
            where="--quantizer",
            todo="Leave it out.",
        )
    if tool not in target.capabilities.keeps:
        raise UserError(
            f"{target.name} is not known to keep what {tool} has rounded",
            where="--target",
            todo="Take tensorrt or onnx.",
        )
    if target.capabilities.symmetric and not stage[WORD]["symmetric"]:
        raise UserError(
            f"{target.name} needs zero points of zero, and the stage was trained without",
            where=f"stages.{stage['name']}.{WORD}",
            todo=f"Train it with {WORD}: {{symmetric: true}}.",
        )
