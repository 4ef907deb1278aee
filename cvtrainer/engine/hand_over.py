"""One stage's weights for the networks of the next: who gets whose, and the whole account of it.

Networks get the weights of their namesakes; a stage with one network takes the only ones there
are. What a config's `init_from` says beyond the source is a `Wish`. Only weights are handed over:
optimizers, schedules and generators begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_whole
from cvtrainer.engine.weight_files import NAMELESS, Weights, saved_weights
from cvtrainer.engine.weight_names import NameRules, inside, without_wrappers
from cvtrainer.engine.weights import Fit, Loading, some
from cvtrainer.protocols import State

FOLDER = "handover"
"""In a run's folder: whole accounts of weights that were handed over."""


@dataclass(frozen=True)
class Wish:
    """How weights are to be taken over; `networks` says which of the source's each one takes."""

    strict: bool = True
    networks: Mapping[str, str] = field(default_factory=dict)
    averaged: bool | None = None
    rules: NameRules = field(default_factory=NameRules)
    convert_stem: bool = False

    @classmethod
    def read(cls, block: Mapping[str, Any]) -> Wish:
        """From a config's `init_from` or `pretrained`, less its source."""
        return cls(
            strict=bool(block.get("strict", True)),
            networks=dict(block.get("networks") or {}),
            averaged=block.get("averaged"),
            rules=NameRules(
                remove_prefix=_texts(block.get("remove_prefix")),
                add_prefix=block.get("add_prefix") or "",
                rename=dict(block.get("rename") or {}),
                only=_texts(block.get("only")),
                skip=_texts(block.get("skip")),
            ),
            convert_stem=bool(block.get("convert_stem", False)),
        )


@dataclass
class HandOver:
    """What was handed over, and what was not.

    `unused` are networks of the source, `idle_rules` those that fit no name anywhere.
    """

    source: str
    strict: bool
    averaged: bool
    fits: list[Fit]
    unused: list[str]
    idle_rules: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line: how many weights, and the first few names of what did not fit."""
        return f"{self.source}: " + "; ".join(self._parts())

    def insist(self, todo: str = "Use the model they were trained with.") -> None:
        """An error with everything that is wrong, if anything is."""
        if self.problems:
            raise UserError(
                f"the weights do not fit the model ({'; '.join(self.problems)})",
                where=self.source,
                todo=todo,
            )

    def as_plain(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {**asdict(self), "fits": [asdict(fit) for fit in self.fits]}

    def write(self, path: Path) -> Path:
        """All of it in that file."""
        make_folder(path.parent)
        write_whole(path, json.dumps(self.as_plain(), indent=2, ensure_ascii=False) + "\n")
        return path

    def _parts(self) -> list[str]:
        several = len(self.fits) > 1
        parts = []
        for fit in self.fits:
            average = " (averaged)" if self.averaged else ""
            total = len(fit.loaded) + len(fit.missing) + len(fit.wrong_shape) + len(fit.skipped)
            text = f"{len(fit.loaded)} of {total} weights taken over{average}"
            if fit.source is None:
                text = "not in the source, as initialised"
            wrong = [
                f"{name} {tuple(given)} for {tuple(own)}"
                for name, (given, own) in fit.wrong_shape.items()
            ]
            stems = [
                f"{name} {tuple(given)} to {tuple(own)}"
                for name, (given, own) in fit.converted.items()
            ]
            for word, names in (
                ("stem converted", stems),
                ("missing", fit.missing if fit.source is not None else []),
                ("skipped", fit.skipped),
                ("wrong shape", wrong),
                ("left over", fit.unexpected),
            ):
                if names:
                    text += f", {word} {len(names)}: {some(names)}"
            parts.append(f"{fit.network}: {text}" if several else text)
        if self.idle_rules:
            parts.append(f"fits no name: {', '.join(self.idle_rules)}")
        if self.unused:
            parts.append(f"not used: {', '.join(self.unused)}")
        return parts


def hand_over(
    networks: Mapping[str, nn.Module], state: State, wish: Wish, *, source: str
) -> HandOver:
    """Load what fits; `problems` of the result says why nothing at all was loaded, if so."""
    try:
        saved = saved_weights(state, averaged=wish.averaged)
        givers = _givers(networks, saved.networks, wish)
    except UserError as error:
        return HandOver(source, wish.strict, False, [], [], problems=[error.what])
    loadings: list[Loading] = []
    fits: list[Fit] = []
    for name, network in networks.items():
        giver = givers.get(name)
        if giver is None:
            fits.append(Fit(name, None, missing=list(network.state_dict())))
            continue
        loadings.append(
            Loading(
                network,
                giver.weights,
                wish.rules,
                name=name,
                source=giver.label,
                convert_stem=wish.convert_stem,
            )
        )
        fits.append(loadings[-1].fit)
    taken = {giver.network for giver in givers.values()}
    unused = [name for name in saved.networks if name not in taken]
    idle = [
        rule
        for rule in (loadings[0].idle_rules if loadings else [])
        if all(rule in loading.idle_rules for loading in loadings)
    ]
    result = HandOver(source, wish.strict, bool(saved.averaged & taken), fits, unused, idle)
    result.problems = _problems(fits, givers, wish)
    if wish.strict and idle:
        result.problems.append(f"fits no name: {', '.join(idle)}")
    if not result.problems:
        for loading in loadings:
            loading.carry_out(strict=wish.strict)
        result.problems = [f"{fit.network}: {fit.refused}" for fit in fits if fit.refused]
    return result


@dataclass(frozen=True)
class _Giver:
    """A network of the source, or a part of it, that one of the stage's networks takes."""

    network: str
    label: str
    weights: Weights


def _givers(
    networks: Mapping[str, nn.Module], saved: Mapping[str, Weights], wish: Wish
) -> dict[str, _Giver]:
    """Whose weights each network takes; one that nobody serves is left out."""
    unknown = [name for name in wish.networks if name not in networks]
    if unknown:
        raise UserError(
            f"networks: the stage has no network {', '.join(unknown)}, but {', '.join(networks)}"
        )
    there = ", ".join(name or "one without a name" for name in saved)
    found: dict[str, _Giver] = {}
    for name, theirs in (wish.networks or {name: name for name in networks}).items():
        giver = _named(theirs, saved)
        if giver is None and wish.networks:
            raise UserError(f"networks: the source has no network {theirs}, but {there}")
        if giver is None and len(networks) == 1:
            giver = _only(saved)
        if giver is not None:
            found[name] = giver
    if not found:
        raise UserError(
            f"the stage has networks {', '.join(networks)}, the source {there}; say with networks "
            "which takes which"
        )
    return found


def _named(name: str, saved: Mapping[str, Weights]) -> _Giver | None:
    """A network of the source, or a part of the only one: one module may have held several."""
    if name in saved:
        return _Giver(name, name, saved[name])
    whole = _only(saved)
    if whole is None:
        return None
    part = {
        variant[len(name) + 1 :]: value
        for full, value in whole.weights.items()
        for variant in without_wrappers(full)
        if inside(variant, name)
    }
    return _Giver(whole.network, f"{whole.network}.{name}".lstrip("."), part) if part else None


def _only(saved: Mapping[str, Weights]) -> _Giver | None:
    name = NAMELESS if NAMELESS in saved else next(iter(saved))
    return _Giver(name, name, saved[name]) if name == NAMELESS or len(saved) == 1 else None


def _problems(fits: list[Fit], givers: Mapping[str, _Giver], wish: Wish) -> list[str]:
    """Why it must not be: misfits where it is strict, and always where nothing fits."""
    found = []
    for fit in fits:
        told: list[str] = []
        if fit.source is None:
            told += ["the source has no such network"] if wish.strict and not wish.networks else []
        elif not fit.loaded and (fit.missing or fit.wrong_shape or fit.skipped):
            told.append(_nothing(fit, givers[fit.network].weights))
        if fit.source is not None and wish.strict:
            told += fit.complaints()
        before = f"{fit.network}: " if len(fits) > 1 else ""
        found += [before + text for text in told]
    return found


def _nothing(fit: Fit, weights: Weights) -> str:
    """That nothing fits, with a name of either side, so that the difference is seen."""
    own = next(iter([*fit.missing, *fit.wrong_shape, *fit.skipped]))
    return f"nothing fits, the model has {own}, the source {next(iter(weights), 'nothing')}"


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
