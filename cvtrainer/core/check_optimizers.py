"""What is special about optimizers: learning rates, rates of parts, and the words of `groups`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cvtrainer.core.check_arguments import check_arguments
from cvtrainer.core.findings import Findings
from cvtrainer.core.several_nodes import several_nodes
from cvtrainer.core.signature import Signatures
from cvtrainer.core.tree import Path

HIGHEST_LR = 10.0
CLOSURE_OPTIMIZER = "torch.optim:LBFGS"
GROUPING = "cvtrainer.optim.groups:Grouping"


def check_optimizers(
    found: Findings, signatures: Signatures, path: Path, stage: dict[str, Any]
) -> None:
    """Every optimizer of one stage."""
    for inner, node in several_nodes(stage, "optimizer"):
        place = (*path, *inner)
        if node["type"] == CLOSURE_OPTIMIZER:
            what = "LBFGS evaluates the loss several times per step, which this loop does not"
            found.wrong_value((*place, "type"), f"{what}; use AdamW, or SGD with momentum")
        learning_rate(found, (*place, "kwargs", "lr"), node["kwargs"].get("lr"))
        _layerwise(found, (*place, "layerwise"), node["layerwise"])
        if isinstance(node.get("groups"), dict):
            _groups(found, signatures, (*place, "groups"), node["groups"])


def learning_rate(found: Findings, path: Path, value: Any) -> None:
    """A number that can be a learning rate."""
    if _number(value) and not 0 < value < HIGHEST_LR:
        found.wrong_value(path, f"a learning rate of {value:g} is not between 0 and 10")


def _layerwise(found: Findings, path: Path, parts: dict[str, Any]) -> None:
    for part, value in parts.items():
        rate = value.get("lr") if isinstance(value, dict) else value
        if _number(rate):
            learning_rate(found, (*path, part), rate)
        elif not isinstance(value, dict):
            found.wrong_value((*path, part), "must be a learning rate")


def _groups(found: Findings, signatures: Signatures, path: Path, words: dict[str, Any]) -> None:
    info = signatures.read(GROUPING)
    assert info is not None
    check_arguments(found, path, replace(info, name="a grouping"))
    decay = words.get("layer_decay")
    if isinstance(decay, int | float) and not 0 < decay <= 1:
        found.wrong_value((*path, "layer_decay"), f"{decay:g} is not above 0 and at most 1")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
