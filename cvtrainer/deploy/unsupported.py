"""What a target cannot express, told by the network's own words: operator, module, source line.

A converter's error names an operator of a lowered graph, if anything. The program as it was traced
knows which module called it, and where in whose source. Called with the error by every target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch.fx import Node

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.own_lines import PLACE, Place, own_place, shown
from cvtrainer.deploy.program import Program

_NETWORK = "network"
_LONGEST = 160
_CALLED = re.compile(r"(?:aten|prims|torchvision|torch)(?:::|\.)([\w.]+)|fx node (\w+)")
_MISSING = re.compile(
    r"function found|lowering not found|unsupported fx node|no layer for", re.IGNORECASE
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PREFIXES = ("special", "linalg", "fft", "nn")


def unsupported(target: str, program: Program, error: Exception | str) -> UserError:
    """The error for a user, to be raised from the converter's own one."""
    text = _text_of(error)
    nodes = _named(program, text) or _standing_at(program, text)
    reason = _reason(error)
    if not nodes:
        return UserError(f"{target} cannot express this network: {reason}")
    more = f", and {len(nodes) - 1} more like it" if len(nodes) > 1 else ""
    why = "" if _MISSING.search(reason) else f" ({reason})"
    return UserError(
        f"{target} cannot express {_kind(nodes[0])} of {origin_of(nodes[0])}{more}{why}",
        todo="Write it in other operators, or take another target.",
    )


def origin_of(node: Node) -> str:
    """The module that a node comes from as the network calls it, and the line that calls it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]).split("@")[0] if stack else ""
    if path == _NETWORK:
        told = "the network itself"
    elif path.startswith(f"{_NETWORK}."):
        told = f"the module {path.removeprefix(f'{_NETWORK}.')}"
    else:
        told = "what the task reads in the outputs"
    place = _place(node)
    return told if place is None else f"{told}, {shown(place)}"


def _named(program: Program, text: str) -> list[Node]:
    """The nodes of the first operator in the text that the network has."""
    calls = [(_plain(_kind(node)), node) for node in _calls(program)]
    for found in _CALLED.finditer(text):
        for word in (found[1] or found[2]).split("."):
            nodes = [node for kind, node in calls if word and kind == _plain(word)]
            if nodes:
                return nodes
    return []


def _standing_at(program: Program, text: str) -> list[Node]:
    """The first node from the last source line of the text that the network has nodes of."""
    for place in reversed(PLACE.findall(text)):
        for node in _calls(program):
            if _place(node) == (place[0], int(place[1])):
                return [node]
    return []


def _calls(program: Program) -> Iterator[Node]:
    return (node for node in program.traced.graph.nodes if node.op == "call_function")


def _kind(node: Node) -> str:
    return getattr(node.target, "_opname", "") or str(node.target)


def _plain(name: str) -> str:
    """An operator as its relatives in other vocabularies are called, too."""
    words = [word for word in name.lower().split("_") if word]
    while len(words) > 1 and words[0] in _PREFIXES:
        words = words[1:]
    return "".join(words)


def _place(node: Node) -> Place | None:
    return own_place(str(node.meta.get("stack_trace") or ""))


def _causes(error: Exception | str) -> list[str]:
    """Its own text and that of what caused it."""
    if isinstance(error, str):
        return [error]
    told = []
    one: BaseException | None = error
    while one is not None:
        told.append(str(one).strip() or type(one).__name__)
        one = one.__cause__
    return told


def _text_of(error: Exception | str) -> str:
    return "\n".join(reversed(_causes(error)))


def _reason(error: Exception | str) -> str:
    line = _COLOURS.sub("", _causes(error)[-1]).splitlines()[0].strip().rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
