"""An 8-bit artefact that missed its limit: other schemes are tried, and all of it is written down.

Rungs are scored on the evaluation split through the rounded program in torch; what passes there is
made into an artefact and proven like any other. Nobody else decides what is delivered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from cvtrainer.core.files import write_whole
from cvtrainer.deploy.contract import UNPROVEN, read_contract, write_contract
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.ladder import Score, Tried
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.sensitivity import Sensitivity
from cvtrainer.deploy.runtime.runner import Arrays
from cvtrainer.jobs.export.limits import Limits
from cvtrainer.jobs.export.proof import Proof


class Made(Protocol):
    """An artefact as the export gives it."""

    path: Path
    proof: Proof
    failures: list[str]


M = TypeVar("M", bound=Made)
Found = TypeVar("Found")
Gives = TypeVar("Gives", covariant=True)


class Climb(Protocol[Gives]):
    """A ladder, by what it gives of a rung."""

    tried: list[Tried]
    sensitive: list[Sensitivity]

    def passing(self, scheme: Scheme, score: Score) -> Iterator[Gives]: ...


class Doctor(Generic[Found]):
    """Serves all targets of an export: each goes on from the rung where the one before ended."""

    def __init__(self, ladder: Climb[Found], scheme: Scheme, limits: Limits) -> None:
        self._ladder = ladder
        self._scheme = scheme
        self._limits = limits
        self._found: Iterator[Found] | None = None

    def treated(self, missed: M, make: Callable[[Found], M]) -> M:
        """The first artefact that is proven, or the last that is not."""
        if self._found is None:
            score = score_of(missed.proof, self._limits)
            self._found = self._ladder.passing(self._scheme, score)
        made = missed
        for found in self._found:
            made = make(found)
            if not made.failures:
                return self.noted(made)
            self._note_file(made)
        tried = self._ladder.tried
        passed = [one.rung.name for one in tried if one.file is not None]
        made.failures.append(
            f"{passed[0]} passes as a program and not as the file: the runtime computes otherwise"
            if passed
            else f"none of {len(tried)} rungs passes"
        )
        return self.noted(made)

    def _note_file(self, made: Made) -> None:
        """What the artefact gave, where its program had passed."""
        last = self._ladder.tried[-1]
        if last.score.passes:
            self._ladder.tried[-1] = replace(last, file=score_of(made.proof, self._limits))

    def noted(self, made: M) -> M:
        """Say in the contract and in files beside the artefact what was tried."""
        rungs = [one.plain() for one in self._ladder.tried]
        contract = read_contract(made.path)
        proof, origin = {**contract.proof, "ladder": rungs}, dict(contract.made)
        if not made.failures and (last := self._ladder.tried[-1]).score.passes:
            origin |= {"calibrator": last.rung.scheme.method, "rung": last.rung.name}
        write_contract(made.path, replace(contract, proof=proof, made=origin))
        told = {
            "may_drop": self._limits.allowed(made.proof),
            "proven": proof.get("proven", False),
            "passes": not made.failures,
            "rungs": rungs,
            "sensitivities": [
                {"operator": one.name, "decibels": one.decibels} for one in self._ladder.sensitive
            ],
        }
        stem = made.path.name.removesuffix(UNPROVEN)
        text = json.dumps(told, indent=2, ensure_ascii=False)
        for page, content in zip(_pages(made.path), (f"{text}\n", _page(stem, told)), strict=True):
            write_whole(page, content.encode())
        return made


def remove_pages(artefact: Path) -> None:
    """Those of an earlier export would speak of another artefact."""
    for page in _pages(artefact):
        page.unlink(missing_ok=True)


def _pages(artefact: Path) -> tuple[Path, Path]:
    stem = artefact.name.removesuffix(UNPROVEN)
    json_page, page = (artefact.with_name(f"{stem}.doctor.{end}") for end in ("json", "md"))
    return json_page, page


def score_of(proof: Proof, limits: Limits) -> Score:
    """What a proof says of a rung."""
    worse, name = limits.worst(proof)
    return Score(dict(proof.artefact), worse, not limits.failures(proof), name)


class TorchRunner:
    """A module that computes a program's outputs, in the place of an artefact."""

    def __init__(self, module: nn.Module, program: Program) -> None:
        self._module = module
        self._program = program

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        x = torch.from_numpy(inputs).to(self._program.example.device)
        with torch.no_grad():
            rows = torch.split(x, len(x) if self._program.any_batch else 1)
            parts = [self._module(one) for one in rows]
        names = [port.name for port in self._program.outputs]
        made = [torch.cat(one).cpu().numpy() for one in zip(*parts, strict=True)]
        return dict(zip(names, made, strict=True))


def _page(stem: str, told: dict[str, Any]) -> str:
    """The same for people."""
    passed = "passes, not run here" if told["passes"] else "not proven"
    ended = "proven" if told["proven"] else passed
    names = list(told["rungs"][0]["metrics"])
    lines = [
        f"# {stem}: {ended}",
        "",
        f"{_may(told['may_drop'])} Tried, in this order:",
        "",
        *_table(
            ("rung", *names, "passes", "drop / limit"),
            [row for one in told["rungs"] for row in _rows(one, names)],
        ),
        "",
        f"Scheme of the last rung: {_words(told['rungs'][-1]['scheme'])}.",
    ]
    floats = [one["float"] for one in told["rungs"] if one.get("float")]
    if floats:
        lines += ["", f"Float in the last rung: {', '.join(floats[-1])}."]
    if told["sensitivities"]:
        rows = [(one["operator"], f"{one['decibels']:.1f}") for one in told["sensitivities"]]
        lines += [
            "",
            "Signal to noise at the network's outputs when an operator alone has 8 bits:",
            "",
            *_table(("operator", "dB"), rows),
        ]
    return "\n".join(lines) + "\n"


def _may(limits: Mapping[str, float]) -> str:
    told = ", ".join(f"{name} by {limit:.4g}" for name, limit in limits.items())
    return f"It may be worse: {told or 'by anything'}. The last column is how much of that is used."


def _rows(rung: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for label, told in ((rung["rung"], rung), (f"{rung['rung']}, the file", rung.get("file"))):
        if told is not None:
            figures = [f"{told['metrics'][name]:.4f}" for name in names]
            needs = f"{told['worse']:.2f} ({told['worst']})"
            yield (label, *figures, "yes" if told["passes"] else "no", needs)


def _words(scheme: dict[str, Any]) -> str:
    named = {**scheme, "float_layers": ", ".join(scheme["float_layers"]) or "none"}
    return ", ".join(f"{word} {value}" for word, value in named.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
