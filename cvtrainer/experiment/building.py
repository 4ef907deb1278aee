"""Nodes of a resolved config become live objects; nowhere else is "module:attr" imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.locate import import_target
from cvtrainer.core.suggest import nearest
from cvtrainer.experiment.first_weights import FirstWeights, asked_by

Node = Mapping[str, Any]


class Builder:
    """Builds nodes; `near` is the config's file, whose folders are searched."""

    def __init__(self, near: Path | None = None) -> None:
        self._near = near
        self.first_weights = FirstWeights()

    def target(self, text: str) -> Any:
        """What that import path names."""
        return import_target(text, near=self._near)

    def build(self, node: Node, **given: Any) -> Any:
        """Import the node's type and call it with its arguments; nested nodes are built first."""
        target = self.target(node["type"])
        arguments = {key: self.value(value) for key, value in node.get("kwargs", {}).items()}
        asked = asked_by(node, target, arguments)
        _refuse_unknown_arguments(target, node["type"], {**given, **arguments})
        built = target(**given, **arguments)
        if asked is not None:
            self.first_weights.note(built, asked, node["type"])
        return built

    def takes(self, node: Node, argument: str) -> bool:
        """Whether the node's type has that argument and the config leaves it open."""
        if argument in node.get("kwargs", {}):
            return False
        try:
            return argument in inspect.signature(self.target(node["type"])).parameters
        except (TypeError, ValueError):
            return False

    def value(self, value: Any) -> Any:
        """A value of the config with every node in it built."""
        if isinstance(value, Mapping):
            if isinstance(value.get("type"), str):
                return self.build(value)
            return {key: self.value(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(part) for part in value]
        return value


def _refuse_unknown_arguments(
    target: Callable[..., Any], name: str, arguments: Mapping[str, Any]
) -> None:
    """What could not be checked from source is checked here, before any data is opened."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    for argument in arguments:
        if argument not in parameters:
            near = nearest(argument, parameters)
            todo = f"Did you mean {near}?" if near else f"It takes {', '.join(parameters)}."
            raise UserError(f"{name} takes no argument {argument!r}", todo=todo)
