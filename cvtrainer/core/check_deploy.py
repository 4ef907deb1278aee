"""A stage's `deploy` block: a target that is there and runs here, a precision it has, limits.

Also what the block needs elsewhere: a split to measure on, pictures (if it is pictures) whose
preparation has a form that a device can repeat, and a metric that an artefact can have.
"""

from __future__ import annotations

from typing import Any

from cvtrainer.core.deploy_targets import TargetFacts, deploy_targets
from cvtrainer.core.errors import UserError
from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.input_of_stage import input_of
from cvtrainer.core.tree import Path
from cvtrainer.core.value_types import shown_value

_LIMITS = ("max_latency_ms", "max_size_kb", "max_peak_ram_kb")
_SHARDS = "FSDPHook"


def check_deploy(found: Findings) -> None:
    """Every stage that has one."""
    targets: dict[str, TargetFacts] | None = None
    for index, stage in enumerate(found.data["stages"]):
        block = stage.get("deploy")
        if not isinstance(block, dict):
            continue
        targets = deploy_targets() if targets is None else targets
        path: Path = ("stages", index, "deploy")
        _target(found, path, block, targets)
        _limits(found, path, block)
        _with_rounding(found, path, block, stage, targets)
        _surroundings(found, path, stage)


def _target(
    found: Findings, path: Path, block: dict[str, Any], targets: dict[str, TargetFacts]
) -> None:
    name, precision = block["target"], block["precision"]
    if not isinstance(name, str):
        return
    facts = targets.get(name)
    if facts is None:
        what = f"there is no target {name!r}; there is {', '.join(targets)}"
        found.wrong_value((*path, "target"), what, closest(name, targets))
        return
    if not facts.runs_here:
        able = ", ".join(one for one, other in targets.items() if other.runs_here)
        what = f"artefacts of {name} do not run here, so none can be measured; {able} do"
        found.wrong_value((*path, "target"), what)
    if facts.precisions is not None and precision not in facts.precisions:
        what = f"{name} has no {shown_value(precision)}; it has {', '.join(facts.precisions)}"
        found.wrong_value((*path, "precision"), what, closest(precision, facts.precisions))


def _limits(found: Findings, path: Path, block: dict[str, Any]) -> None:
    for word in (*_LIMITS, "max_drop"):
        if isinstance(block[word], bool):
            found.wrong_value((*path, word), f"must be a number, not {shown_value(block[word])}")
        elif word in _LIMITS and _number(block[word]) and block[word] <= 0:
            found.wrong_value((*path, word), f"must be more than 0, not {shown_value(block[word])}")
    drop = block["max_drop"]
    if _number(drop) and not 0 <= drop <= 1:
        what = f"must lie between 0 and 1, not {shown_value(drop)}: 0.01 is one point of accuracy"
        found.wrong_value((*path, "max_drop"), what)


def _with_rounding(
    found: Findings,
    path: Path,
    block: dict[str, Any],
    stage: dict[str, Any],
    targets: dict[str, TargetFacts],
) -> None:
    """A network that trains with rounding has one set of numbers, and its target takes them."""
    if not isinstance(stage.get("quantise"), dict):
        return
    if block["precision"] != "int8":
        what = "a stage with quantise gives 8-bit numbers alone"
        found.wrong_value((*path, "precision"), what, "int8")
    facts = targets.get(block["target"]) if isinstance(block["target"], str) else None
    if facts is not None and facts.rounds_itself:
        what = f"{block['target']} rounds by itself, so it takes no rounding from training"
        found.wrong_value((*path, "target"), what)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _surroundings(found: Findings, path: Path, stage: dict[str, Any]) -> None:
    inner = path[:-1]
    if stage["dataloader"].get("val") is None:
        if not found.told((*inner, "dataloader", "val")):
            found.missing((*inner, "dataloader"), "val", "artefacts are measured on the val split")
        return
    sharded = any(str(hook["type"]).endswith(_SHARDS) for hook in stage["hooks"])
    if sharded or (stage["ddp"]["enabled"] and stage["ddp"]["strategy"] == "fsdp"):
        found.wrong_key(path, "weights in pieces (fsdp) cannot be exported while they are trained")
    for place, hook in enumerate(stage["hooks"]):
        judge = hook["kwargs"].get("metric_name")
        if str(hook["type"]).endswith(":CheckpointHook") and str(judge).endswith("loss"):
            what = "an artefact has no loss; its best is judged by another metric"
            found.wrong_value((*inner, "hooks", place, "kwargs", "metric_name"), what)
    if not found.problems:
        try:
            input_of(stage)
        except UserError as error:
            found.wrong_key(path, error.what)
