"""Which optimizer of a config is whose: one for all updates, or one for each by its name.

A name is that of an update, or that of the one network which an update changes. What fits nothing,
and updates for which there is nothing, are told before any data is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.several_nodes import several_nodes
from cvtrainer.core.suggest import nearest
from cvtrainer.experiment.building import Node
from cvtrainer.protocols import Task


def optimizer_per_update(stage: Mapping[str, Any], task: Task) -> dict[str, Node]:
    """The optimizer's node for each update; nothing where the stage has no optimizer."""
    nodes = {path[1:]: node for path, node in several_nodes(stage, "optimizer")}
    updates = task.updates()
    if () in nodes:
        return {update.name: nodes[()] for update in updates}
    if not nodes:
        return {}
    owners = {update.name: update.name for update in updates}
    for update in updates:
        if len(update.networks) == 1:
            owners.setdefault(next(iter(update.networks)), update.name)
    found: dict[str, Node] = {}
    for (name,), node in nodes.items():
        owner = owners.get(str(name))
        if owner is None:
            near = nearest(str(name), owners)
            raise UserError(
                f"the task has no update {name!r}",
                where="optimizer",
                todo=f"Did you mean {near}?" if near else f"There is {', '.join(owners)}.",
            )
        if owner in found:
            raise UserError(f"the update {owner!r} is given two optimizers", where="optimizer")
        found[owner] = node
    for update in updates:
        if update.name not in found:
            raise UserError(
                f"the update {update.name!r} has none",
                where="optimizer",
                todo=f"Give it one under `{update.name}`, or write one optimizer for all.",
            )
    return found
