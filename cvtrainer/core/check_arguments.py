"""Arguments of nodes against the signatures of their targets: names, types, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.schema import FILLED_ARGUMENTS, RUNTIME_ARGUMENTS, node_words
from cvtrainer.core.signature import Signatures, TargetInfo, Verdict
from cvtrainer.core.tree import Path
from cvtrainer.core.value_types import mismatch


def check_nodes(found: Findings, signatures: Signatures) -> None:
    """Every node except transforms, which their back end resolves."""
    for path, kind in found.nodes.items():
        node = found.get(path)
        if kind == "transform" and ":" not in node["type"]:
            continue
        if found.told((*path, "type")):
            continue
        info = signatures.read(node["type"])
        if info is None:
            found.note(path, f"{node['type']} cannot be read; its arguments are checked when built")
            _misspelt_kwargs(found, (*path, "kwargs"), kind)
            continue
        check_arguments(
            found,
            (*path, "kwargs"),
            info,
            given=(*RUNTIME_ARGUMENTS.get(kind, ()), *_words_that_reach(kind)),
            filled=FILLED_ARGUMENTS.get(kind, ()),
        )
        if info.open:
            _misspelt_kwargs(found, (*path, "kwargs"), kind)


def _words_that_reach(kind: str) -> Sequence[str]:
    """Words of a node that an argument of the same name gets."""
    return ("pretrained",) if "pretrained" in node_words(kind) else ()


def check_arguments(
    found: Findings,
    path: Path,
    info: TargetInfo,
    *,
    given: Sequence[str] = (),
    filled: Sequence[str] = (),
) -> None:
    """The arguments at `path` for this target.

    `given` are supplied by the framework; `filled` are, too, where the config is silent.
    """
    arguments = found.get(path)
    offered = [name for name in info.parameters if name not in given]
    for name, value in arguments.items():
        place = (*path, name)
        if name in given and name in info.parameters:
            found.wrong_key(place, f"{info.name} gets this argument from the framework")
            continue
        verdict = info.verdict(str(name))
        if verdict is Verdict.WRONG:
            _unknown_argument(found, place, info, offered)
        elif verdict is Verdict.UNKNOWN:
            near = closest(name, offered)
            if near is not None and near not in arguments:
                found.note(place, f"{info.name} may not take this; {near} is known")
        elif not found.told(place) and not holds_node(value):
            wrong = mismatch(info.parameters[str(name)], value)
            if wrong is not None:
                found.wrong_value(place, *wrong)
    for name, parameter in info.parameters.items():
        absent = name not in arguments and name not in given and name not in filled
        if absent and parameter.required and not _decorated(info):
            found.missing(
                path, name, f"{info.name} needs the argument `{name}`{_hint(found, path, name)}"
            )


def _hint(found: Findings, path: Path, name: str) -> str:
    """Where the argument was surely meant, but its place belongs to the node."""
    node = found.get(path[:-1])
    beside = isinstance(node, dict) and name in node_words("") and node.get(name) is not None
    return f"; `{name}` beside `type` names the entry, so write it in kwargs" if beside else ""


def holds_node(value: Any) -> bool:
    """Whether a value is built from nodes, so that its type is not what is written."""
    if isinstance(value, dict):
        return isinstance(value.get("type"), str) or any(map(holds_node, value.values()))
    return isinstance(value, list) and any(map(holds_node, value))


def _unknown_argument(found: Findings, path: Path, info: TargetInfo, offered: list[str]) -> None:
    words = [word for word in node_words("optimizer") if word not in ("type", "name")]
    suggestion = closest(path[-1], offered, words)
    what = f"{info.name} takes no such argument"
    if suggestion is None:
        what += f"; it takes {', '.join(offered)}" if offered else "; it takes none"
    found.wrong_key(path, what, suggestion)


def _misspelt_kwargs(found: Findings, path: Path, kind: str) -> None:
    """A mapping beside `type` whose name looks like `kwargs`, for targets that take anything."""
    for name, value in found.get(path).items():
        if isinstance(value, dict) and closest(name, ["kwargs", "layerwise", "bind"]):
            place = (*path, name)
            words = [word for word in node_words(kind) if word in ("kwargs", "layerwise", "bind")]
            if not found.told(place) and (near := closest(name, words)):
                found.wrong_key(place, "unknown word of a node", near)


def _decorated(info: TargetInfo) -> bool:
    """Whether a decorator may supply arguments itself."""
    return info.open and bool(info.symbol.node.decorator_list)
