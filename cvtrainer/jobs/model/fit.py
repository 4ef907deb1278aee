"""`cvtrainer model fit`: whether a config's model fits into a board, before anything is trained.

The network is built from the config with the weights it starts with; its exported graph is planned.
Where it does not fit, `smaller.py` looks for what would.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.devices.device import Device, device_named
from cvtrainer.deploy.devices.estimate import Estimate, estimate
from cvtrainer.deploy.planner.graph import InPlace, Rules
from cvtrainer.deploy.planner.limits import Finding, Limits, precision_of, too_much
from cvtrainer.deploy.planner.plan import Plan, plan
from cvtrainer.jobs.model.opened import Opened, open_stage
from cvtrainer.jobs.model.smaller import Smaller, smaller

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmg]?)(?:i?b)?\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


@dataclass
class Fit:
    """The plan of one network, what of it is too much, and what would be less."""

    stage: str
    network: str
    input_from: str
    plan: Plan
    limits: Limits
    findings: list[Finding] = field(default_factory=list)
    smaller: list[Smaller] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Why there is no more to suggest."""
    estimate: Estimate | str | None = None
    """How long it would take on the device, or why nobody can say."""

    @property
    def fits(self) -> bool | None:
        """None where no limit was given."""
        return None if self.limits == Limits() else not self.findings

    def as_plain(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {
            "fits": self.fits,
            **asdict(self),
            "plan": self.plan.as_plain(),
            "findings": [{**asdict(one), "text": str(one)} for one in self.findings],
            "estimate": self.estimate.plain()
            if isinstance(self.estimate, Estimate)
            else self.estimate,
        }


@dataclass(frozen=True)
class Board:
    """What is asked: sizes as people write them, a known device, what its runtime can do."""

    ram: str | None = None
    flash: str | None = None
    precision: str = "int8"
    in_place: Sequence[str] = (InPlace.ELEMENTWISE.value,)
    device: str | None = None
    """Its name or file; what it has counts where `ram` or `flash` do not say otherwise."""

    @property
    def limits(self) -> Limits:
        """In bytes."""
        ram, flash = board_size(self.ram, "--ram"), board_size(self.flash, "--flash")
        if self.device is None:
            return Limits(ram, flash)
        device = device_named(self.device)
        return Limits(ram or device.ram_bytes, flash or device.flash_bytes)

    @property
    def rules(self) -> Rules:
        """As the planner knows them."""
        return Rules(precision_of(self.precision), _abilities(self.in_place))


def fit(
    config: str | Path,
    board: Board,
    *,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    shape: Sequence[int] | None = None,
    network: str | None = None,
) -> Fit:
    """Plan the stage's model for this board; that of the last stage is what an export takes."""
    limits, rules = board.limits, board.rules
    opened = open_stage(config, overrides=overrides, stage=stage, shape=shape, last=True)
    name = _network(opened, network)
    args, kwargs = inputs_of(opened, name)
    planned = plan(opened.networks[name], args, kwargs, rules=rules)
    found = Fit(opened.stage["name"], name, opened.origin, planned, limits)
    found.findings = too_much(planned, limits)
    if board.device is not None:
        found.estimate = _estimate(planned, device_named(board.device))
    if found.findings:

        def plan_of(model: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> Plan:
            return plan(model, args, kwargs, rules=rules)

        def is_small(planned: Plan) -> bool:
            return not too_much(planned, limits)

        found.smaller, found.missing = smaller(
            opened, name, (args, kwargs), plan_of=plan_of, is_small=is_small
        )
    return found


def _estimate(planned: Plan, device: Device) -> Estimate | str:
    try:
        return estimate(planned.brief(), device)
    except UserError as error:
        return f"no estimate: {error.what}"


def inputs_of(opened: Opened, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the stage's forward pass gives to this network."""
    caught: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.append((args, kwargs))

    hook = opened.networks[name].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with torch.no_grad():
            opened.forward(opened.batch)
    finally:
        hook.remove()
    if not caught:
        raise UserError(
            f"the network {name} is not used in evaluation", where="--network", todo="Name another."
        )
    return caught[0]


def board_size(text: str | None, where: str) -> int | None:
    """Bytes; a k has 1024, as on the data sheets of boards."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    count = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if count < 1:
        raise UserError(f"{text!r} is no size", where=where, todo="Write 256k or 1M.")
    return count


def _abilities(names: Sequence[str]) -> Collection[InPlace]:
    known = {one.value: one for one in InPlace}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UserError(
            f"{wrong[0]!r} is nothing that is done in place",
            where="--in-place",
            todo=f"There is {', '.join(known)}, or none.",
        )
    return tuple(known[name] for name in names)


def _network(opened: Opened, asked: str | None) -> str:
    names = list(opened.networks)
    if asked is None and len(names) > 1 and "model" not in names:
        raise UserError(
            f"the stage has several networks: {', '.join(names)}", todo="Name one with --network."
        )
    name = asked or ("model" if "model" in names else names[0])
    if name not in names:
        raise UserError(
            f"no network is called {name!r}", where="--network", todo=f"There is {names}."
        )
    return name
