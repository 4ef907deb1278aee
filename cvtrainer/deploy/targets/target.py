"""What every target tells about itself, and the table of all of them.

A target's own package is imported when it is used; one that is missing is an error with the line
that installs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.scheme import TOOL, Scheme
from cvtrainer.deploy.runtime.runner import Runner


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
    own_int8: bool = False
    """Its 8-bit files come from its own quantiser: see `QuantisingTarget`."""
    tools: tuple[str, ...] = ()
    """Quantisers that a scheme may ask of it, too."""
    keeps: tuple[str, ...] = (TOOL,)
    """Whose rounding of training it writes as it was."""
    symmetric: bool = False
    """Rounded activations must have a zero point of zero."""
    takes_bytes: bool = True
    """Whether the graph may begin with bytes, height x width x channels."""
    any_size: bool = False
    """Whether these may have any height and width."""
    any_length: bool = False
    """Whether arrays may have other lengths than the example's."""
    takes_whole: bool = True
    """Whether the graph may begin with whole numbers, such as those of words."""


class Target(Protocol):
    """Turns a captured program into one file, or a folder of that name."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def export(self, program: Program, path: Path) -> None: ...


class QuantisingTarget(Target, Protocol):
    """One with `own_int8` or `tools`: it is given the float program and the calibration sample."""

    def export_quantised(
        self, program: Program, sample: Iterable[Tensor], scheme: Scheme, path: Path
    ) -> None: ...


@dataclass(frozen=True)
class Checked:
    """What was looked at in an artefact that does not run here; `stand_in` gives the same numbers
    where something here can."""

    told: Mapping[str, Any]
    stand_in: Runner | None = None
    failures: tuple[str, ...] = ()


class CheckingTarget(Target, Protocol):
    """One whose artefacts do not run here: it reads them again and compares their form."""

    def check(self, program: Program, path: Path) -> Checked: ...


TARGETS: dict[str, str] = {
    "onnx": "cvtrainer.deploy.targets.onnx:OnnxTarget",
    "openvino": "cvtrainer.deploy.targets.openvino:OpenvinoTarget",
    "executorch": "cvtrainer.deploy.targets.executorch:ExecutorchTarget",
    "torch": "cvtrainer.deploy.targets.inductor:InductorTarget",
    "litert": "cvtrainer.deploy.targets.litert:LitertTarget",
    "ncnn": "cvtrainer.deploy.targets.ncnn:NcnnTarget",
    "coreml": "cvtrainer.deploy.targets.coreml:CoremlTarget",
    "tensorrt": "cvtrainer.deploy.targets.tensorrt:TensorrtTarget",
}
"""Name -> where its class is."""


def rounds_itself(target: Target, scheme: Scheme) -> bool:
    """Whether the target makes its 8-bit files from the float program."""
    can = target.capabilities
    if scheme.tool not in (TOOL, *can.tools):
        raise UserError(
            f"{target.name} has no quantizer {scheme.tool!r}",
            where="--quantizer",
            todo=f"It has {', '.join((TOOL, *can.tools))}." if can.tools else "Leave that out.",
        )
    return can.own_int8 or scheme.tool != TOOL


def targets_named(names: Iterable[str]) -> list[Target]:
    """The targets of these names, each once."""
    found = [target_named(name) for name in dict.fromkeys(names)]
    if not found:
        raise UserError(
            "no target is named", where="--target", todo=f"Choose of {', '.join(sorted(TARGETS))}."
        )
    return found


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
