"""A stage's `deploy` block as the gate uses it: what is made, what it may be, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cvtrainer.deploy.planner.limits import KB, Limits, kib
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.jobs.export.wanted import Wanted

_ALMOST = 1e-9
"""Of an epoch: sums of batches are not exact."""


@dataclass(frozen=True)
class Block:
    """The words of `core.schema.DEPLOY`, checked and with their defaults."""

    target: str
    precision: str
    every: Mapping[str, float]
    calibrator: str = "mse"
    sample: int = 256
    subset: int | None = None
    max_drop: float | None = None
    max_latency_ms: float | None = None
    max_size_kb: float | None = None
    max_peak_ram_kb: float | None = None

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> Block:
        """From a resolved stage."""
        return cls(**{one.name: block[one.name] for one in fields(cls)})

    @property
    def wanted(self) -> Wanted:
        """What the export is asked for; the ladder is for the end, not for every few epochs."""
        return Wanted(
            (self.target,),
            (self.precision,),
            max_drop=self.max_drop,
            scheme=Scheme(method=self.calibrator),
            sample=self.sample,
            ladder=False,
        )

    @property
    def limits(self) -> dict[str, float]:
        """Those that are set, by their words."""
        words = ("max_drop", "max_latency_ms", "max_size_kb", "max_peak_ram_kb")
        return {word: getattr(self, word) for word in words if getattr(self, word) is not None}

    @property
    def judged_by(self) -> dict[str, Any]:
        """What an artefact is and must keep: with another one of these, an older best says
        nothing of a new one."""
        words = ("target", "precision", "calibrator", "sample", "subset")
        return {word: getattr(self, word) for word in words} | self.limits

    def periods(self, *, epochs: float, steps: int) -> int:
        """How many times `every` lies behind this place of the stage."""
        if "steps" in self.every:
            return int(steps // self.every["steps"])
        return int((epochs + _ALMOST) // self.every["epochs"])

    def too_much(self, size: int, latency_ms: float | None) -> list[str]:
        """Which of the limits that are seen in the artefact it does not keep."""
        found = []
        limit = Limits.of_block({"max_size_kb": self.max_size_kb}).flash_bytes
        if limit is not None and size > limit:
            found.append(f"it has {kib(size)}, and {limit / KB:,.1f} KiB is the limit")
        most = self.max_latency_ms
        if most is not None and latency_ms is not None and latency_ms > most:
            took = f"a picture takes {latency_ms:.3g} ms on this host"
            found.append(f"{took}, and {most:g} ms is the limit")
        return found
