"""A device file: memory, multiply-accumulates per second, bandwidth, and the source of each number.

Those that come with cvtrainer are found by name; one's own is a path. Torch is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest

_FOLDER = Path(__file__).parent
_WORDS = {"name", "about", "aliases", "ram_kib", "flash_kib", "macs", "bandwidth", "sources"}
_RATE_WORDS = {"million_per_s", "basis", "source"}
_BANDWIDTHS = {"activations_mb_per_s", "weights_mb_per_s"}
_SOURCES = {"memory", "bandwidth"}
PRECISIONS = ("int8", "float")


@dataclass(frozen=True)
class Rate:
    """Multiply-accumulates per second; `measured` on a device, or derived from its clock."""

    per_second: float
    measured: bool
    source: str


@dataclass(frozen=True)
class Device:
    """Memory in bytes, bandwidths in bytes per second; None where nobody says, or there is none."""

    name: str
    about: str
    ram_bytes: int | None
    flash_bytes: int | None
    rates: Mapping[str, Rate]
    activations_per_second: float | None
    weights_per_second: float | None
    sources: Mapping[str, str]


def device_named(text: str) -> Device:
    """By its name, one of its aliases, or the path of a file."""
    if text.endswith((".yaml", ".yml")):
        return device_of(_read(Path(text)), text)
    known: dict[str, Path] = {}
    for file in device_files():
        told = _read(file)
        for name in (file.stem, *told.get("aliases", ())):
            known[name] = file
    wanted = text.lower()
    if wanted not in known:
        meant = nearest(wanted, known)
        there = ", ".join(file.stem for file in device_files())
        raise UserError(
            f"no device is called {text!r}" + (f"; did you mean {meant}?" if meant else ""),
            where="--device",
            todo=f"There is {there}, or your own FILE.yaml.",
        )
    return device_of(_read(known[wanted]), known[wanted].name)


def device_files() -> list[Path]:
    """Those that come with cvtrainer."""
    return sorted(_FOLDER.glob("*.yaml"))


def device_of(told: Mapping[str, Any], where: str) -> Device:
    """From the values of a file; what is missing or strange is refused by name."""
    _known(told, _WORDS, where)
    bandwidth, sources = told.get("bandwidth") or {}, told.get("sources") or {}
    _known(bandwidth, _BANDWIDTHS, f"{where}: bandwidth")
    _known(sources, _SOURCES, f"{where}: sources")
    for word in _SOURCES:
        if not isinstance(sources.get(word), str):
            raise UserError(
                f"it does not say where its {word} is from", where=where, todo="Write sources."
            )
    rates = told.get("macs") or {}
    _known(rates, set(PRECISIONS), f"{where}: macs")
    if not rates or not told.get("name"):
        raise UserError("a device has a name, and macs of int8 or float", where=where)
    return Device(
        str(told["name"]),
        str(told.get("about", "")),
        _bytes(told.get("ram_kib"), 1024, f"{where}: ram_kib"),
        _bytes(told.get("flash_kib"), 1024, f"{where}: flash_kib"),
        {name: _rate(one, f"{where}: macs.{name}") for name, one in rates.items()},
        _number(bandwidth.get("activations_mb_per_s"), 1e6, f"{where}: activations_mb_per_s"),
        _number(bandwidth.get("weights_mb_per_s"), 1e6, f"{where}: weights_mb_per_s"),
        sources,
    )


def _rate(told: Any, where: str) -> Rate:
    _known(told, _RATE_WORDS, where)
    speed = _number(told.get("million_per_s"), 1e6, f"{where}.million_per_s")
    if speed is None or told.get("basis") not in ("measured", "derived") or not told.get("source"):
        raise UserError(
            "a rate has million_per_s, a basis (measured or derived) and a source", where=where
        )
    return Rate(speed, told["basis"] == "measured", str(told["source"]))


def _known(told: Any, words: set[str], where: str) -> None:
    if not isinstance(told, Mapping):
        raise UserError("this is no mapping", where=where)
    strange = sorted(map(str, set(told) - words))
    if strange:
        raise UserError(f"{strange[0]!r} is no word here", where=where, todo=f"{sorted(words)}.")


def _bytes(value: Any, unit: int, where: str) -> int | None:
    number = _number(value, unit, where)
    if number is not None and number < 1:
        raise UserError(f"{value!r} is less than a byte", where=where)
    return None if number is None else int(number)


def _number(value: Any, unit: float, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise UserError(f"{value!r} is no number above 0", where=where)
    return value * unit


def _read(file: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise UserError("device files need PyYAML", todo="Run: pip install pyyaml") from error
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("no such device file", where=str(file)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"not YAML: {reason}", where=str(file)) from error
    if not isinstance(told, dict):
        raise UserError("not a device file", where=str(file))
    return told
