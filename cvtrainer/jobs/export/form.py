"""What an artefact takes and gives where there is a choice: bytes or numbers, decoded or raw."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.choices import insist_on_choice
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import TAKES, Port, Spec
from cvtrainer.deploy.front import Front, refuse_without_form
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.targets.target import Target

DECODES = ("graph", "host")
_ANY_SIDE = (67, 83)
"""Of an example picture: as good as any other."""


@dataclass(frozen=True)
class Form:
    """`takes` is one of the contract's words. `decode` says where the task's reading (softmax,
    arg-max, boxes and their suppression) is done. `top` adds the best classes, so many."""

    takes: str = TAKES[0]
    decode: str = DECODES[0]
    top: int | None = None

    def __post_init__(self) -> None:
        insist_on_choice(self.takes, TAKES, where="--input")
        insist_on_choice(self.decode, DECODES, where="--decode")
        if self.top is not None and self.top < 1:
            raise UserError(f"{self.top} classes", where="--top", todo="Give 1 or more.")
        if self.top is not None and self.decode == "host":
            raise UserError(
                "the best classes are found in the graph, and that is to give raw outputs",
                where="--top",
                todo="Leave out --decode host.",
            )

    def refuse_what_cannot_be(self, target: Target, spec: Spec, taken: Port) -> None:
        """Before anything is made; `taken` is what graphs take without a front."""
        can = target.capabilities
        if isinstance(spec, ArraySpec):
            self._refuse_arrays(target, spec, taken)
            return
        if self.takes == "picture":
            refuse_without_form(spec)
            if not can.any_size:
                raise UserError(
                    f"{target.name} takes inputs of one size",
                    where="--input picture",
                    todo="Give --input uint8: pictures get their size before the graph.",
                )
        if self.takes != "float" and not can.takes_bytes:
            raise UserError(f"{target.name} takes no bytes", where=f"--input {self.takes}")
        if self.top is not None and not can.decodes:
            raise UserError(
                f"{target.name} has no operators that find the best classes", where="--top"
            )

    def _refuse_arrays(self, target: Target, spec: ArraySpec, taken: Port) -> None:
        can = target.capabilities
        if self.takes != TAKES[0]:
            raise UserError(
                f"the input {spec.name} is arrays, made by {spec.maker}; only pictures can come "
                "as bytes",
                where=f"--input {self.takes}",
                todo="Leave it out.",
            )
        if None in taken.shape[1:] and not can.any_length:
            raise UserError(
                f"{target.name} takes inputs of one length, and those of this run have several",
                where=f"--target {target.name}",
                todo="Give all samples one (a tensorizer with `length` or `seconds`) and train "
                "again, or take a target such as onnx.",
            )
        if taken.dtype != "float32" and not can.takes_whole:
            raise UserError(
                f"{target.name} takes no {taken.dtype}, which the input {spec.name} is",
                where=f"--target {target.name}",
                todo="Take another target, such as onnx.",
            )

    def decodes(self, target: Target) -> bool:
        """Whether what the task reads is inside the graph."""
        return target.capabilities.decodes and self.decode == "graph"

    def formed(self, program: Program, spec: Spec) -> Program:
        """The program behind what makes its input of bytes, where those are wanted."""
        if self.takes == TAKES[0]:
            return program
        assert isinstance(spec, InputSpec), "arrays are refused before"
        whole = self.takes == "picture"
        assert spec.size is not None, "the spec of an export gives one size"
        sides = _ANY_SIDE if whole else spec.size
        device = program.example.device
        pixels = torch.zeros(2, *sides, spec.channels, dtype=torch.uint8, device=device)
        front = Front(spec, steps=whole).to(device)
        return program.behind(front, pixels, self.takes)
