"""How long a plan would take on a device: an estimate from its file, never a measurement.

A layer takes as long as its slowest part: counting, moving activations, or fetching weights (the
roofline of Williams and others, 2009). What a runtime does between layers is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.devices.device import Device

_SLOWEST = 3
COUNTING, ACTIVATIONS, WEIGHTS = "MACs", "activations", "weights"


@dataclass(frozen=True)
class LayerTime:
    """`bound` is the part that it waits for."""

    name: str
    milliseconds: float
    bound: str


@dataclass(frozen=True)
class Estimate:
    """`shares` say what the time is spent on; `too_little` which memory does not suffice."""

    device: str
    precision: str
    milliseconds: float
    measured_rate: bool
    shares: dict[str, float]
    slowest: tuple[LayerTime, ...]
    too_little: tuple[str, ...]

    @property
    def text(self) -> str:
        """A line that cannot be taken for a measurement."""
        parts = [f"{share:.0%} {name}" for name, share in self.shares.items() if share >= 0.005]
        basis = "measured on networks or kernels" if self.measured_rate else "derived, see the file"
        line = (
            f"estimate for {self.device}, not measured: {time_text(self.milliseconds)} in "
            f"{self.precision} at the file's rate ({basis}); {', '.join(parts)}"
        )
        return line + "".join(f"; {one}" for one in self.too_little)

    def plain(self) -> dict[str, Any]:
        """For a file; it says of itself what it is."""
        return {"kind": "estimate, not measured", **asdict(self)}


def time_text(milliseconds: float) -> str:
    """Three digits; more would promise what an estimate does not know."""
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.3g} s"


def estimate(plan: Mapping[str, Any], device: Device) -> Estimate:
    """From the plan in a contract, or one of `plain_plan`."""
    precision = str(plan["precision"])
    rate = device.rates.get(precision)
    if rate is None:
        raise UserError(
            f"the file of {device.name} has no MACs of {precision}",
            where="--device",
            todo=f"It has {', '.join(device.rates)}.",
        )
    times: list[LayerTime] = []
    for layer in plan["layers"]:
        parts = {
            COUNTING: layer["macs"] / rate.per_second,
            ACTIVATIONS: _over(layer["moved_bytes"], device.activations_per_second),
            WEIGHTS: _over(layer["weight_bytes"], device.weights_per_second),
        }
        bound = max(parts, key=lambda name: parts[name])
        times.append(LayerTime(layer["name"] or layer["kind"], parts[bound] * 1000, bound))
    total = sum(one.milliseconds for one in times)
    return Estimate(
        device.name,
        precision,
        total,
        rate.measured,
        {
            name: sum(one.milliseconds for one in times if one.bound == name) / (total or 1.0)
            for name in (COUNTING, ACTIVATIONS, WEIGHTS)
        },
        tuple(sorted(times, key=lambda one: -one.milliseconds)[:_SLOWEST]),
        tuple(_too_little(plan, device)),
    )


def _over(count: int, per_second: float | None) -> float:
    return 0.0 if per_second is None else count / per_second


def _too_little(plan: Mapping[str, Any], device: Device) -> list[str]:
    kinds = {
        "RAM": (plan["ram_bytes"], device.ram_bytes),
        "flash": (plan["flash_bytes"], device.flash_bytes),
    }
    return [
        f"{name} does not suffice: {needs / 1024:,.1f} of {there / 1024:,.0f} KiB"
        for name, (needs, there) in kinds.items()
        if there is not None and needs > there
    ]
