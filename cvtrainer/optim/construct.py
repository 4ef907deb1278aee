"""Calls an optimizer's or scheduler's class so that what is wrong in the config is told in a line.

Argument names are compared with the signature first. torch's own complaints about values (a
negative learning rate, a shape that does not fit) become errors about input; an exception from
somebody else's class keeps its traceback.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest

Part = TypeVar("Part")

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def construct(part: type[Part], first: Any, arguments: Mapping[str, Any], *, where: str) -> Part:
    """`part(first, **arguments)`."""
    _refuse_wrong_names(part, arguments, where)
    try:
        return part(first, **arguments)  # type: ignore[call-arg]
    except (ValueError, TypeError) as error:
        if not part.__module__.startswith("torch."):
            raise
        raise UserError(f"{part.__name__}: {error}", where=where) from error


def takes(part: type, argument: str) -> bool:
    """Whether the class has an argument of this name."""
    return argument in inspect.signature(part).parameters


def _refuse_wrong_names(part: type, arguments: Mapping[str, Any], where: str) -> None:
    parameters = list(inspect.signature(part).parameters.values())[1:]
    names = [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
    if len(names) == len(parameters):
        for argument in arguments:
            if argument not in names:
                near = nearest(argument, names)
                raise UserError(
                    f"{part.__name__} takes no argument {argument!r}",
                    where=where,
                    todo=f"Did you mean {near}?" if near else f"It takes {', '.join(names)}.",
                )
    missing = [
        parameter.name
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in _VARIADIC
        and parameter.name not in arguments
    ]
    if missing:
        raise UserError(f"{part.__name__} needs {', '.join(missing)}", where=where)
