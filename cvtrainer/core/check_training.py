"""What is special about training: learning rates, schedules, names of metrics."""

from __future__ import annotations

from typing import Any

from cvtrainer.core.check_arguments import check_arguments
from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.metric_names import find_metric, produced_names, spellings_of
from cvtrainer.core.resolve import Resolver
from cvtrainer.core.schema import FILLED_ARGUMENTS, RUNTIME_ARGUMENTS
from cvtrainer.core.signature import Missing, Signatures, TargetInfo
from cvtrainer.core.tree import Path

HIGHEST_LR = 10.0
_LENGTHS = ("T_max", "total_steps", "epochs", "steps_per_epoch")
_METRIC_ARGUMENTS = ("metric_name", "metric", "monitor")
_PHASES = ("train", "val", "test")


def check_training(found: Findings, signatures: Signatures, resolver: Resolver) -> None:
    """Every stage's optimizer, schedules and metric names."""
    for index, stage in enumerate(found.data["stages"]):
        path: Path = ("stages", index)
        if isinstance(stage.get("optimizer"), dict):
            _learning_rates(found, (*path, "optimizer"), stage["optimizer"])
        known = _known_metrics(found, signatures, path, stage)
        for place, node in enumerate(stage["hooks"]):
            hook = (*path, "hooks", place)
            info = signatures.read(node["type"]) if not found.told((*hook, "type")) else None
            if info is None:
                continue
            if "scheduler_type" in info.parameters:
                _schedule(found, signatures, resolver, (*hook, "kwargs"))
            if known is not None:
                _metric(found, (*hook, "kwargs"), info, known)


def _learning_rates(found: Findings, path: Path, optimizer: dict[str, Any]) -> None:
    _learning_rate(found, (*path, "kwargs", "lr"), optimizer["kwargs"].get("lr"))
    for part, value in optimizer["layerwise"].items():
        place = (*path, "layerwise", part)
        rate = value.get("lr") if isinstance(value, dict) else value
        if isinstance(rate, int | float) and not isinstance(rate, bool):
            _learning_rate(found, place, rate)
        elif not isinstance(value, dict):
            found.wrong_value(place, "must be a learning rate")


def _learning_rate(found: Findings, path: Path, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if not 0 < value < HIGHEST_LR:
        found.wrong_value(path, f"a learning rate of {value:g} is not between 0 and 10")


def _schedule(found: Findings, signatures: Signatures, resolver: Resolver, path: Path) -> None:
    arguments = found.get(path)
    name = arguments.get("scheduler_type")
    if not isinstance(name, str):
        return
    resolved = resolver.resolve(name, "scheduler")
    if resolved.target is None:
        found.wrong_value((*path, "scheduler_type"), resolved.what, resolved.suggestion)
        return
    info = signatures.read(resolved.target)
    words = arguments.get("scheduler_kwargs")
    if info is None or found.told((*path, "scheduler_kwargs")):
        return
    if isinstance(words, dict):
        check_arguments(
            found,
            (*path, "scheduler_kwargs"),
            info,
            given=RUNTIME_ARGUMENTS["scheduler"],
            filled=FILLED_ARGUMENTS["scheduler"],
        )
        if "max_lr" in words:
            _learning_rate(found, (*path, "scheduler_kwargs", "max_lr"), words["max_lr"])
        return
    supplied = (*RUNTIME_ARGUMENTS["scheduler"], *FILLED_ARGUMENTS["scheduler"])
    for parameter in info.parameters.values():
        if parameter.required and parameter.name not in supplied and words is None:
            what = f"{info.name} needs the argument `{parameter.name}`"
            found.missing(path, "scheduler_kwargs", what)


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
        names.extend(expanded)
    phases = [phase for phase in _PHASES if stage["dataloader"].get(phase) is not None]
    return list(dict.fromkeys(f"{phase}/{name}" for phase in phases for name in names))


def _defaults(info: TargetInfo) -> dict[str, Any]:
    return {
        parameter.name: parameter.default
        for parameter in info.parameters.values()
        if not isinstance(parameter.default, Missing)
    }
