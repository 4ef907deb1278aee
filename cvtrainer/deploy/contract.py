"""What stands beside an artefact: what it is fed with, what comes out, and what that means.

Plain data, readable without torch. An artefact alone is a graph; with its contract it is a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_whole
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.artefact import changed_files

FORMAT = 1
SUFFIX = ".contract.json"
TAKES = ("float", "uint8", "picture")
"""What an artefact is fed with: the numbers of the input spec as `[N, C, H, W]`, or bytes as
`[N, H, W, C]`, after the steps of the spec or of a picture of any size before them."""
ARRAYS = "arrays"
"""What it takes where its input is no pictures: numbers that are made outside of it."""
Spec = InputSpec | ArraySpec
UNPROVEN = ".unproven"
"""Ends the name of an artefact that has not been proven, or failed."""


@dataclass(frozen=True)
class Port:
    """A tensor at the border of a graph; a length of None is free."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Contract:
    """`spec` prepares a picture's file for `input`, or says who makes arrays; `reading` is how its
    task tells what comes out, `classes` are the names it uses; `proof` says how the artefact
    compared with the trained model.

    How much of the spec is inside the graph follows from what the artefact `takes`: one of `TAKES`,
    or `ARRAYS` beside an `ArraySpec`. `operating` is how sure it must be to answer, and what that
    is worth; `plan` what each layer needs on a device. `made` says of which weights it was made,
    and `files` what its files were when that was proven: their SHA-256."""

    target: str
    precision: str
    input: Port
    outputs: tuple[Port, ...]
    spec: Spec
    reading: Mapping[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    proof: Mapping[str, Any] = field(default_factory=dict)
    operating: Mapping[str, Any] | None = None
    plan: Mapping[str, Any] | None = None
    takes: str = TAKES[0]
    made: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def example_shape(self, side: int) -> tuple[int, ...]:
        """Of one input; free lengths are those of an evaluated array, or pictures' `side`."""
        if isinstance(self.spec, ArraySpec):
            return self.spec.example
        return tuple(side if length is None else length for length in self.input.shape[1:])

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        told["spec"] = self.spec.plain()
        told["input"] = asdict(self.input)
        told["outputs"] = [asdict(port) for port in self.outputs]
        return {"format": FORMAT, **told}

    @classmethod
    def of_plain(cls, told: Mapping[str, Any], where: str) -> Contract:
        """Back from plain values; what is strange is refused by name."""
        if not isinstance(told, Mapping):
            raise UserError(f"a contract is no {type(told).__name__}", where=where)
        if told.get("format") != FORMAT:
            raise UserError(
                f"a contract of format {told.get('format')!r}; this version reads {FORMAT}",
                where=where,
            )
        try:
            values = {key: value for key, value in told.items() if key != "format"}
            takes = values.get("takes", TAKES[0])
            if takes not in (*TAKES, ARRAYS):
                raise UserError(f"a contract that takes {takes!r}", where=where)
            kind = ArraySpec if takes == ARRAYS else InputSpec
            values["spec"] = kind.of_plain(told["spec"])
            values["input"] = _port(told["input"])
            values["outputs"] = tuple(_port(one) for one in told["outputs"])
            if told.get("classes") is not None:
                values["classes"] = tuple(told["classes"])
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"a contract that lacks, adds or changes a word ({error})", where=where
            ) from error


def note_of_changes(artefact: Path, contract: Contract) -> str | None:
    """A line for whoever is about to believe the proof, where it is not of these files."""
    changed = changed_files(artefact, contract.files)
    if not changed:
        return None
    return f"{artefact}: {', '.join(changed)} changed after the proof, which says nothing of it"


def _port(told: Mapping[str, Any]) -> Port:
    name, dtype = str(told["name"]), np.dtype(told["dtype"]).name
    return Port(name, dtype, tuple(None if one is None else int(one) for one in told["shape"]))


def contract_file(artefact: Path) -> Path:
    """Where the contract of an artefact is."""
    place = artefact if artefact.name else artefact.absolute()  # `.` has no name
    return place.parent / (place.name.removesuffix(UNPROVEN) + SUFFIX)


def write_contract(artefact: Path, contract: Contract) -> Path:
    """Beside the artefact."""
    path = contract_file(artefact)
    text = json.dumps(contract.plain(), indent=2, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())
    return path


def read_contract(artefact: Path) -> Contract:
    """From beside the artefact."""
    path = contract_file(artefact)
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(
            "the artefact has no contract beside it",
            where=str(path),
            todo="Keep both files that cvtrainer export wrote together.",
        ) from error
    except ValueError as error:
        raise UserError(f"not a contract: {error}", where=str(path)) from error
    return Contract.of_plain(told, str(path))
