"""Whose line it was: the place in a network's own source that a trace or an error speaks of."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch
from torch import nn

from cvtrainer.core.errors import UserError

Place = tuple[str, int]

PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_OURS = Path(__file__).parents[1]
_OTHERS = (Path(torch.__file__).parent, _OURS / "deploy")


def own_place(trace: str) -> Place | None:
    """The innermost one; not torch's, and not that of what captured the network."""
    for file, line in reversed(PLACE.findall(trace)):
        if not any(Path(file).is_relative_to(one) for one in _OTHERS):
            return file, int(line)
    return None


def shown(place: Place) -> str:
    """As short as can be."""
    path = Path(place[0])
    for folder in (Path.cwd(), _OURS.parent):
        if path.is_relative_to(folder):
            return f"{path.relative_to(folder).as_posix()}:{place[1]}"
    return f"{path.as_posix()}:{place[1]}"


def no_graph(network: nn.Module, error: Exception, *, where: str | None = None) -> UserError:
    """The error for a user, to be raised from whatever the network's code or torch raised."""
    text = str(error).strip()
    reason = (text or type(error).__name__).splitlines()[0].strip().rstrip(".")
    place = own_place(text) or own_place("".join(traceback.format_exception(error)))
    at = "" if place is None else f" at {shown(place)}"
    return UserError(
        f"{type(network).__name__} cannot become one graph{at}: {reason}",
        where=where,
        todo="Look for what depends on values: ifs, loops, .item(), shapes computed from data.",
    )
