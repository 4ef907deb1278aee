"""Calls what makes an optimizer or scheduler, and tells in a line what is wrong in the config.

Argument names are compared with the signature first. torch's own complaints about values (a
negative learning rate, a shape that does not fit) become errors about input; an exception from
somebody else's class keeps its traceback.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest

Part = TypeVar("Part")

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def construct(
    part: Callable[..., Part], first: Any, arguments: Mapping[str, Any], *, where: str
) -> Part:
    """`part(first, **arguments)`."""
    _refuse_wrong_names(part, arguments, where)
    try:
        return part(first, **arguments)
    except (ValueError, TypeError) as error:
        if not part.__module__.startswith(("torch.", "timm.")):
            raise
        raise UserError(f"{_name(part)}: {error}", where=where) from error


def takes(part: Callable[..., Any], argument: str) -> bool:
    """Whether it has an argument of this name."""
    return argument in inspect.signature(part).parameters


def _refuse_wrong_names(part: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> None:
    parameters = list(inspect.signature(part).parameters.values())[1:]
    names = [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
    if len(names) == len(parameters):
        for argument in arguments:
            if argument not in names:
                near = nearest(argument, names)
                raise UserError(
                    f"{_name(part)} takes no argument {argument!r}",
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
        raise UserError(f"{_name(part)} needs {', '.join(missing)}", where=where)


def _name(part: Callable[..., Any]) -> str:
    return str(getattr(part, "__name__", part))
