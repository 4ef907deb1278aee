"""What every target tells about itself, and the table of all of them.

A target's own package is imported when it is used; one that is missing is an error with the line
that installs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Protocol

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.deploy.program import Program


@dataclass(frozen=True)
class Capabilities:
    """`extra` brings the packages `needs`; `runs_here` is false where only a device can run it.

    `decodes` says whether the graph may hold what a task reads in the outputs (arg-max, the best of
    many, suppression of what overlaps); without, that is done beside it.
    """

    suffix: str
    precisions: tuple[str, ...]
    any_batch: bool
    decodes: bool
    runs_here: bool
    extra: str
    needs: tuple[str, ...]


class Target(Protocol):
    """Turns a captured program into one file, or a folder of that name."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def export(self, program: Program, path: Path) -> None: ...


TARGETS: dict[str, str] = {
    "onnx": "cvtrainer.deploy.targets.onnx:OnnxTarget",
}
"""Name -> where its class is."""


def target_named(name: str) -> Target:
    """The target; its packages must be there."""
    place = TARGETS.get(name)
    if place is None:
        meant = nearest(name, TARGETS)
        raise UserError(
            f"there is no target {name!r}" + (f"; did you mean {meant}?" if meant else ""),
            where="--target",
            todo=f"Choose of {', '.join(sorted(TARGETS))}.",
        )
    module, _, attribute = place.partition(":")
    target: Target = getattr(import_module(module), attribute)()
    missing = [one for one in target.capabilities.needs if find_spec(one) is None]
    if missing:
        raise UserError(
            f"the target {name} needs {', '.join(missing)}",
            todo=f'Run: pip install "cvtrainer[{target.capabilities.extra}]"',
        )
    return target
