"""What the job found, as data and as plain lines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

COMPARED = (
    "networks, averages, optimizers, schedules, scaler, meters, best values, random state, "
    "batches, logged values"
)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was, and whose it is."""

    where: str
    owner: str
    """The component: `hook ema (EMAHook)`, `dataloader.train.dataset (Rows)`."""
    what: str
    reason: str
    todo: str
    leaves: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Paths in the state, or fields of the batch, with their two values or checksums."""


@dataclass(frozen=True)
class Length:
    """How much of a stage was verified."""

    stage: str
    batches: int
    steps: int
    epochs: int

    def __str__(self) -> str:
        steps = f" ({self.steps} optimizer steps)" if self.steps != self.batches else ""
        return f"{self.batches} batches{steps} in {self.epochs} epochs of stage {self.stage}"


@dataclass
class Verdict:
    """Equal, or the first difference."""

    config: str
    lengths: list[Length] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)
    deterministic: bool = True
    """Whether two straight runs were the same."""
    differences: list[Difference] = field(default_factory=list)
    varying: list[str] = field(default_factory=list)
    """What varies between two straight runs without consequences, and was not compared."""
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        return not self.differences

    def as_plain(self) -> dict[str, Any]:
        """For `--json`."""
        return {"equal": self.equal, **asdict(self)}

    def lines(self) -> list[str]:
        """For people."""
        verified = "; ".join(str(length) for length in self.lengths) or "nothing"
        told = [f"verified: {verified}, in {self.seconds:.0f} s"]
        told += [f"killed and resumed: {kill}" for kill in self.kills]
        if self.varying:
            told.append(f"varies by itself, not compared: {_some(self.varying)}")
        if self.equal:
            return [*told, f"equal to the last bit: {COMPARED}"]
        if not self.deterministic:
            told.append("two straight runs differ already, before anything is resumed")
        for one in self.differences:
            told += [f"different {one.where}", f"  owner: {one.owner}", f"  what: {one.what}"]
            told += [f"  why: {one.reason}", f"  what to do: {one.todo}"]
        return told


def _some(names: list[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
