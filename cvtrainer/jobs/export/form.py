"""What an artefact takes and gives where there is a choice: bytes or numbers, decoded or raw."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.core.suggest import nearest
from cvtrainer.deploy.contract import TAKES
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
        for word, value, known in (
            ("--input", self.takes, TAKES),
            ("--decode", self.decode, DECODES),
        ):
            if value not in known:
                meant = nearest(value, known)
                raise UserError(
                    f"{value!r} is none of {', '.join(known)}"
                    + (f"; did you mean {meant}?" if meant else ""),
                    where=word,
                )
        if self.top is not None and self.top < 1:
            raise UserError(f"{self.top} classes", where="--top", todo="Give 1 or more.")
        if self.top is not None and self.decode == "host":
            raise UserError(
                "the best classes are found in the graph, and that is to give raw outputs",
                where="--top",
                todo="Leave out --decode host.",
            )

    def refuse_what_cannot_be(self, target: Target, spec: InputSpec) -> None:
        """Before anything is made."""
        can = target.capabilities
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

    def decodes(self, target: Target) -> bool:
        """Whether what the task reads is inside the graph."""
        return target.capabilities.decodes and self.decode == "graph"

    def formed(self, program: Program, spec: InputSpec) -> Program:
        """The program behind what makes its input of bytes, where those are wanted."""
        if self.takes == "float":
            return program
        whole = self.takes == "picture"
        assert spec.size is not None, "the spec of an export gives one size"
        sides = _ANY_SIDE if whole else spec.size
        device = program.example.device
        pixels = torch.zeros(2, *sides, spec.channels, dtype=torch.uint8, device=device)
        front = Front(spec, steps=whole).to(device)
        return program.behind(front, pixels, self.takes)
