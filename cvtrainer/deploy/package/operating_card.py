"""The part of a card that says when a model answers, and what its answers are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from cvtrainer.deploy.contract import Contract

_FIGURES = ("coverage", "precision", "precision_at_least", "recall", "error")
_TOLD_CLASSES = 50


def operating_lines(contracts: Mapping[str, Contract]) -> list[str]:
    """Markdown; empty where no artefact has an operating point."""
    points = {
        PurePosixPath(name).name: contract.operating
        for name, contract in contracts.items()
        if contract.operating is not None
    }
    if not points:
        return []
    return [
        "## Operating point",
        "",
        "Found on the evaluation split, through the artefact. The figures are of samples that the",
        "point was not found on (cross-fitting): each part of the split is answered with what the",
        "others give. At least is the lower end of Wilson's interval of 95 %. Where no class is",
        "sure enough, the answer is `unknown`, or nothing is told.",
        "",
        "| Artefact | Goal | Samples | Coverage | Precision | At least | Recall | Error |",
        "|---|---|---|---|---|---|---|---|",
        *(line for name, told in points.items() for line in _rows(name, told)),
        "",
        *(line for name, told in points.items() for line in _calibration(name, told)),
        *(line for name, told in points.items() for line in _classes(name, told)),
    ]


def _rows(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    for goal, figures in ((told["goal"], told["measured"]), ("without", told["before"])):
        cells = " | ".join(_cell(figures[word]) for word in _FIGURES)
        yield f"| {name} | {goal} | {told['samples']} | {cells} |"


def _calibration(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    found = told.get("calibration")
    if found is None:
        return
    now, was = _cell(found["error"]), _cell(found["error_before"])
    yield f"- {name}: calibration error {now}, before {was};"
    yield f"  negative log-likelihood {_cell(found['nll'])}, before {_cell(found['nll_before'])};"
    yield f"  temperature {_cell(told['temperature'])}"
    yield ""


def _classes(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    thresholds = told["thresholds"]
    if thresholds is None:
        return
    yield f"| {name}: class | Told from | Samples | Answers | Precision | At least | Recall |"
    yield "|---|---|---|---|---|---|---|"
    rows = list(zip(told["classes"], thresholds, strict=False))
    for one, threshold in rows[:_TOLD_CLASSES]:
        level = "never" if threshold is None else _cell(threshold)
        figures = (one["precision"], one["precision_at_least"], one["recall"])
        cells = " | ".join(map(_cell, figures))
        label = str(one["class"]).replace("|", "\\|")
        yield f"| {label} | {level} | {one['samples']} | {one['answers']} | {cells} |"
    yield ""
    if len(rows) > _TOLD_CLASSES:
        yield f"And {len(rows) - _TOLD_CLASSES} more classes, in the contract."
        yield ""
    for note in told["notes"]:
        yield f"- {note}"
    if told["notes"]:
        yield ""


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
