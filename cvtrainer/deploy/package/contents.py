"""What must be in a package, and what each part says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import SUFFIX, UNPROVEN, Contract, Port
from cvtrainer.deploy.package.archive import MANIFEST, Archive, open_archive
from cvtrainer.telling.kinds import telling_of
from cvtrainer.telling.operating import operated

CARD = "card.md"
CONFIG = "config.yaml"
LABELS = "labels.json"
METRICS = "metrics.json"
WEIGHTS = "weights.safetensors"
FOLDER = "artefacts"
NEEDED = (CARD, CONFIG, LABELS, METRICS, WEIGHTS)
_MOST_JSON = 1 << 24
_MOST_SIDE = 1 << 15
"""Of a picture, in pixels."""
_MOST_LONG = 1 << 28
"""Of an array, along an axis."""
_ARRAYS = ("float32", "int64")


@dataclass(frozen=True)
class Contents:
    """A package that may be used; `contracts` by the names of artefacts, in the order written."""

    archive: Archive
    contracts: Mapping[str, Contract]

    @classmethod
    def of(cls, path: Path) -> Contents:
        """Opened and looked through."""
        archive = open_archive(path)
        artefacts = archive.told.get("artefacts")
        if not isinstance(artefacts, list) or not all(isinstance(one, str) for one in artefacts):
            raise _refused(archive, f"its {MANIFEST} does not say which artefacts there are")
        contracts = {name: _contract(archive, name) for name in artefacts}
        if not contracts:
            raise _refused(archive, "it has no artefact")
        known = {MANIFEST, *NEEDED, *(f"{name}{SUFFIX}" for name in contracts)}
        for name in (*NEEDED, *contracts):
            if not _held(archive, name):
                raise _refused(archive, f"it lacks {name}")
        for name in archive.parts:
            if name not in known and not any(_below(name, one) for one in contracts):
                raise _refused(archive, f"it has a part {name}, which is not known")
        return cls(archive, contracts)

    def text(self, name: str) -> str:
        """A part that is text."""
        return self.archive.read(name).decode("utf-8", "replace")

    def values(self, name: str) -> Any:
        """A part that is JSON."""
        return _json(self.archive, name)


def _contract(archive: Archive, artefact: str) -> Contract:
    """That of an artefact, which must be proven."""
    name, where = f"{artefact}{SUFFIX}", f"{archive.path}: {artefact}"
    if artefact.endswith(UNPROVEN):
        raise _refused(archive, f"{artefact} is not proven")
    if name not in archive.parts:
        raise _refused(archive, f"it lacks {name}")
    told = _json(archive, name)
    if not isinstance(told, dict):
        raise _refused(archive, f"{name} is no contract")
    try:
        contract = Contract.of_plain(told, where)
    except (AttributeError, ValueError) as error:
        raise _refused(archive, f"{name} is no contract") from error
    if not _possible(contract):
        raise _refused(archive, f"{name} tells of inputs that cannot be")
    if not _answers(contract):
        raise _refused(archive, f"{name} tells of outputs or classes that cannot be")
    proof = contract.proof
    if not isinstance(proof, dict) or proof.get("proven") is not True or not proof.get("samples"):
        raise _refused(archive, f"{artefact} is not proven")
    operated(telling_of(contract.reading, where), contract.operating, where)
    levels = (contract.operating or {}).get("thresholds")
    if levels is not None and len(levels) < len(contract.classes or ()):
        raise _refused(archive, f"{name} has {len(levels)} thresholds for more classes")
    return contract


def _answers(contract: Contract) -> bool:
    """Whether outputs and classes have names."""
    names = [port.name for port in contract.outputs]
    classes = contract.classes or ()
    return 0 < len(names) == len(set(names)) and all(isinstance(one, str) for one in classes)


def _possible(contract: Contract) -> bool:
    """Whether there can be an input that the artefact takes, of sizes that memory can hold."""
    spec = contract.spec
    first = contract.input.shape[:1]
    if not first or (first[0] is not None and first[0] < 1):
        return False
    if isinstance(spec, ArraySpec):
        return _possible_arrays(spec, contract.input)
    return _possible_pictures(spec, contract.input.shape, contract.takes)


def _possible_arrays(spec: ArraySpec, taken: Port) -> bool:
    wanted = taken.shape[1:]
    return (
        taken.dtype in _ARRAYS
        and len(wanted) == len(spec.example)
        and all(type(one) is int and 0 <= one <= _MOST_LONG for one in spec.example)
        and all(want in (None, have) for want, have in zip(wanted, spec.example, strict=True))
    )


def _possible_pictures(spec: InputSpec, shape: tuple[int | None, ...], takes: str) -> bool:
    sizes = [getattr(step, "size", None) for step in spec.steps]
    sized = [length for length in shape[1:] if length is not None]
    numbers = [spec.channels, *sized, *(side for size in sizes if size for side in size)]
    sides = [getattr(step, "sides", ()) for step in spec.steps]
    numbers += [side + 1 for four in sides for side in four]
    if not all(type(one) is int and 0 < one <= _MOST_SIDE for one in numbers):
        return False
    if type(spec.max_pixels) is not int or spec.max_pixels < 1:
        return False
    if not all(_is_number(one) for one in (*spec.mean, *spec.std)) or 0 in spec.std:
        return False
    size = spec.size or ()
    forms = {
        "float": (spec.channels, *size),
        "uint8": (*size, spec.channels),
        "picture": (None, None, spec.channels),
    }
    return len(shape) == 4 and shape[1:] == forms.get(takes)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _json(archive: Archive, name: str) -> Any:
    if archive.parts[name].size > _MOST_JSON:
        raise _refused(archive, f"{name} has {archive.parts[name].size} bytes")
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise _refused(archive, f"{name} is no JSON") from error


def _held(archive: Archive, name: str) -> bool:
    return any(_below(part, name) for part in archive.parts)


def _below(part: str, name: str) -> bool:
    return part == name or part.startswith(f"{name}/")


def _refused(archive: Archive, why: str) -> UserError:
    return UserError(f"the package is refused: {why}", where=str(archive.path))
