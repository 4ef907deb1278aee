"""What an export is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.artefact import size_of
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.jobs.export.form import Form
from cvtrainer.jobs.export.limits import Drop
from cvtrainer.jobs.export.proof import Proof


@dataclass(frozen=True)
class Wanted:
    """Which artefacts; `max_drop` is how much worse each metric may be. `sample` pictures of the
    training data calibrate 8-bit numbers. `package` is the file that holds everything; a path
    without a name means `model.cvt` beside the artefacts."""

    targets: Sequence[str] = ("onnx",)
    precisions: Sequence[str] = ("fp32",)
    out: Path | None = None
    max_drop: Drop = None
    config: str | None = None
    scheme: Scheme = field(default_factory=Scheme)
    sample: int = 256
    package: Path | None = None
    where_there: bool = False
    """Whether a precision that a target has not is passed over, instead of refused."""
    ladder: bool = True
    """Whether other schemes are tried where 8-bit numbers miss their limit."""
    qat: int = 0
    """Epochs of training with rounding among what is tried; 0: it is not."""
    operate: str | None = None
    """The goal of an operating point, such as `precision=0.95`."""
    form: Form = field(default_factory=Form)

    def __post_init__(self) -> None:
        if not self.precisions:
            raise UserError("no precision is named", where="--precision", todo="Such as fp32,int8.")
        for word, number, least in (("sample", self.sample, 1), ("qat", self.qat, 0)):
            if number < least:
                raise UserError(f"{number} is less than {least}", where=f"--{word}")


@dataclass
class Exported:
    """One artefact and how its proof went."""

    target: str
    precision: str
    path: Path
    contract: Path
    proof: Proof
    failures: list[str] = field(default_factory=list)
    may_drop: Mapping[str, float] = field(default_factory=dict)
    """By how much each metric that it is judged by may be worse."""
    package: Path | None = None
    """The package that it is a part of."""
    checked: Mapping[str, Any] | None = None
    """What was looked at in one that could only be converted here; None where it ran."""
    operating: Mapping[str, Any] | None = None
    optimised: Proof | None = None
    """How it compares as its runtime opens it unasked, where that makes a difference."""
    differing: Path | None = None
    """The page that shows samples which it decides otherwise."""

    @property
    def sound(self) -> bool:
        """Whether it may be delivered: nothing that was compared speaks against it."""
        return not self.failures

    @property
    def proven(self) -> bool:
        """Whether it ran here and did as the trained model does."""
        return self.sound and self.checked is None

    @property
    def size(self) -> int:
        """In bytes."""
        return size_of(self.path)
