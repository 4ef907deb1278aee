"""What is special about training: learning rates, schedules, names of metrics."""

from __future__ import annotations

from typing import Any

from cvtrainer.core.check_optimizers import check_optimizers
from cvtrainer.core.check_schedules import check_schedule
from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.metric_names import find_metric, produced_names, spellings_of
from cvtrainer.core.resolve import Resolver
from cvtrainer.core.signature import Missing, Signatures, TargetInfo
from cvtrainer.core.tree import Path

_METRIC_ARGUMENTS = ("metric_name", "metric", "monitor")
_PHASES = ("train", "val", "test")


def check_training(found: Findings, signatures: Signatures, resolver: Resolver) -> None:
    """Every stage's optimizer, schedules and metric names."""
    for index, stage in enumerate(found.data["stages"]):
        path: Path = ("stages", index)
        check_optimizers(found, signatures, path, stage)
        known = _known_metrics(found, signatures, path, stage)
        for place, node in enumerate(stage["hooks"]):
            hook = (*path, "hooks", place)
            info = signatures.read(node["type"]) if not found.told((*hook, "type")) else None
            if info is None:
                continue
            if "scheduler_type" in info.parameters:
                check_schedule(found, signatures, resolver, (*hook, "kwargs"))
            if known is not None:
                _metric(found, (*hook, "kwargs"), info, known)


def _metric(found: Findings, path: Path, info: TargetInfo, known: list[str]) -> None:
    arguments = found.get(path)
    for word in _METRIC_ARGUMENTS:
        name = arguments.get(word)
        if word not in info.parameters or not isinstance(name, str):
            continue
        if find_metric(name, known) is None:
            shown = [metric for metric in known if metric.startswith("val/")] or known
            what = f"no meter gives {name!r}; known are {', '.join(shown)}"
            spellings = [text for metric in known for text in spellings_of(metric)]
            alike = [text for text in spellings if ("/" in text) == ("/" in name)]
            found.wrong_value((*path, word), what, closest(name, alike))


def _known_metrics(
    found: Findings, signatures: Signatures, path: Path, stage: dict[str, Any]
) -> list[str] | None:
    """What is measured in a stage, or None where a meter does not say what it gives."""
    names = ["loss"]
    for place, node in enumerate(stage["meters"]):
        meter = (*path, "meters", place)
        info = signatures.read(node["type"]) if not found.told((*meter, "type")) else None
        produces = info.literals.get("PRODUCES") if info else None
        if info is None or not isinstance(produces, tuple | list):
            return None
        given = {**_defaults(info), **node["kwargs"]}
        expanded = produced_names(produces, given)
        if expanded is None:
            return None
        names.extend(f"{node.get('prefix') or ''}{name}" for name in expanded)
    phases = [phase for phase in _PHASES if stage["dataloader"].get(phase) is not None]
    return list(dict.fromkeys(f"{phase}/{name}" for phase in phases for name in names))


def _defaults(info: TargetInfo) -> dict[str, Any]:
    return {
        parameter.name: parameter.default
        for parameter in info.parameters.values()
        if not isinstance(parameter.default, Missing)
    }
