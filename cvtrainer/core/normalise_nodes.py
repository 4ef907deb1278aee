"""Nodes in their one form: `{type: X, kwargs: {…}}`, with reserved words beside them.

A bare string is a node without arguments; arguments may stand flat beside `type`; entries of
hooks, meters and loggers may be a named mapping. Nested nodes inside `kwargs` are treated alike.
"""

from __future__ import annotations

from typing import Any

from cvtrainer.core.naming import entry_name
from cvtrainer.core.placing import Placing
from cvtrainer.core.schema import (
    BINDING_ALIASES,
    BOUND_KINDS,
    DEFAULT_TYPES,
    NAMED_KINDS,
    node_words,
)
from cvtrainer.core.several_nodes import given_by_name
from cvtrainer.core.suggest import nearest
from cvtrainer.core.tree import Path

IMAGE_FOLDER = "cvtrainer.data.datasets.image_folder:ImageFolder"
DETECTED = "cvtrainer.data.detection:detected"
_DETECTED_WORDS = {"data_path", "task", "split", "classes"}
"""Arguments that leave the format open; any other one belongs to an image folder."""

_KIND_OF_ARGUMENT = {
    "backbone": "backbone",
    "adapter": "adapter",
    "head": "head",
    "model": "model",
    "network": "model",
    "teacher": "model",
    "generator": "model",
    "discriminator": "model",
    "reading": "task",
    "criterion": "loss",
    "loss": "loss",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
    "dataset": "dataset",
    "tensorizer": "tensorizer",
    "transform": "transform",
    "collate": "collate",
    "meter": "meter",
    "mixer": "mixer",
    "sampler": "sampler",
}


class Nodes:
    """Brings nodes into their form and remembers of which kind each one is."""

    def __init__(self, place: Placing) -> None:
        self.place = place
        self.kinds: dict[Path, str] = {}

    def single(self, path: Path, kind: str) -> None:
        """One node, or null where nothing is written or it is switched off."""
        holder = self.place.get(path[:-1])
        if holder.get(path[-1]) is None:
            holder[path[-1]] = None
            return
        if not self.node(path, kind):
            holder[path[-1]] = None

    def single_or_named(self, path: Path, kind: str) -> None:
        """One node, or a mapping from names to nodes of that kind."""
        holder = self.place.get(path[:-1])
        named = holder.get(path[-1])
        if not given_by_name(named, kind):
            self.single(path, kind)
            return
        for name in list(named):
            if named[name] is None or not self.node((*path, name), kind):
                self.place.drop((*path, name))
        holder[path[-1]] = holder[path[-1]] or None

    def node(self, path: Path, kind: str) -> bool:
        """Bring the value at `path` into a node's form; False where it is none or is off."""
        place = self.place
        value = place.get(path)
        if isinstance(value, str):
            place.wrap(path, "type")
        elif not isinstance(value, dict):
            place.complain(path, "a name or a mapping with `type` is expected")
            return False
        node = place.get(path)
        if self._switched_off(path, node):
            return False
        self._alias(path, kind, node)
        if not self._type(path, kind, node):
            return False
        self._arguments(path, kind, node)
        self._lift_weights(path, kind)
        self.kinds[path] = kind
        self._nested((*path, "kwargs"), kind)
        place.ordered(path, list(node_words(kind)))
        return True

    def merge_arguments(self, node_path: Path, source: Path) -> None:
        """Move `model_args` into the node that they belong to."""
        place = self.place
        arguments, node = place.get(source), place.get(node_path)
        if arguments is not None and not isinstance(arguments, dict):
            place.complain(source, "arguments are a mapping")
        elif arguments and node is None:
            place.complain(source, f"arguments without a {node_path[-1]}")
        elif arguments:
            self._move_arguments(source, (*node_path, "kwargs"))
            self._lift_weights(node_path, self.kinds[node_path])
            self._nested((*node_path, "kwargs"), self.kinds[node_path])
        place.drop(source)

    def _switched_off(self, path: Path, node: dict[str, Any]) -> bool:
        if "enabled" not in node:
            return False
        enabled = node["enabled"]
        if not isinstance(enabled, bool):
            self.place.complain((*path, "enabled"), "true or false is expected")
        self.place.drop((*path, "enabled"))
        return enabled is False

    def _alias(self, path: Path, kind: str, node: dict[str, Any]) -> None:
        if kind == "dataset" and "args" in node and "kwargs" not in node:
            self.place.move((*path, "args"), (*path, "kwargs"))
        for word, ours in BINDING_ALIASES.items() if kind in BOUND_KINDS else ():
            if word in node and ours not in node:
                self.place.move((*path, word), (*path, ours))

    def _type(self, path: Path, kind: str, node: dict[str, Any]) -> bool:
        place = self.place
        if isinstance(node.get("type"), str) and node["type"]:
            return True
        if "type" in node:
            place.complain((*path, "type"), "a name is expected")
            return False
        if kind in DEFAULT_TYPES:
            node["type"] = DEFAULT_TYPES[kind]
            return True
        kwargs = node.get("kwargs")
        given = {**node, **kwargs} if isinstance(kwargs, dict) else node
        folder = kind == "dataset" and "data_path" in given
        wanted = ["data_path", "type"] if kind == "dataset" and not folder else ["type"]
        slip = next((key for key in node if nearest(str(key), wanted)), None)
        if slip is not None:
            place.complain((*path, slip), "unknown key", nearest(str(slip), wanted))
        elif folder:
            open_format = set(given) <= _DETECTED_WORDS | set(node_words(kind))
            node["type"] = DETECTED if open_format else IMAGE_FOLDER
            return True
        elif kind == "dataset":
            place.complain(path, "a dataset needs a `type` or a `data_path`")
        else:
            place.complain(path, f"a {kind or 'node'} needs a `type`")
        return False

    def _arguments(self, path: Path, kind: str, node: dict[str, Any]) -> None:
        place = self.place
        if node.get("kwargs") is None:
            node["kwargs"] = {}
        elif not isinstance(node["kwargs"], dict):
            place.complain((*path, "kwargs"), "arguments are a mapping")
            place.drop((*path, "kwargs"))
            node["kwargs"] = {}
        words = node_words(kind)
        for key in [key for key in node if key not in words]:
            if key in node["kwargs"]:
                place.complain((*path, key), "given twice, here and in kwargs")
                place.drop((*path, key))
            else:
                place.move((*path, key), (*path, "kwargs", key))

    def _lift_weights(self, path: Path, kind: str) -> None:
        """`pretrained` is a word of networks wherever it was written."""
        node = self.place.get(path)
        if "pretrained" not in node_words(kind) or "pretrained" not in node["kwargs"]:
            return
        if "pretrained" in node:
            self.place.complain((*path, "pretrained"), "given twice, here and in kwargs")
            self.place.drop((*path, "kwargs", "pretrained"))
        else:
            self.place.move((*path, "kwargs", "pretrained"), (*path, "pretrained"))

    def _move_arguments(self, source: Path, target: Path) -> None:
        place = self.place
        kwargs = place.get(target)
        if not kwargs and place.origins.key(target) is None:
            place.origins.set(
                target, key=place.origins.key(source), value=place.origins.value(source)
            )
        for key in list(place.get(source)):
            if key in kwargs:
                place.complain((*source, key), "given twice, here and in kwargs")
            else:
                place.move((*source, key), (*target, key))

    def _nested(self, path: Path, kind: str) -> None:
        arguments = self.place.get(path)
        for key in list(arguments):
            inner = (*path, key)
            if kind == "tensorizer" and key == "mapping" and isinstance(arguments[key], dict):
                self._tensorizers(inner)
            elif kind == "transform":
                self._search(inner, "transform")
            else:
                self._search(inner, _kind_of(str(key)))

    def _tensorizers(self, path: Path) -> None:
        for name, value in list(self.place.get(path).items()):
            inner = (*path, name)
            if value is not None and not isinstance(value, str | dict):
                self.place.complain(inner, "a tensorizer is a name or a mapping with `type`")
            elif value is None or not self.node(inner, "tensorizer"):
                self.place.drop(inner)

    def _search(self, path: Path, kind: str) -> None:
        """Nodes anywhere below an argument's value."""
        value = self.place.get(path)
        if isinstance(value, dict):
            if isinstance(value.get("type"), str):
                if not self.node(path, kind):
                    self.place.put(path, None)
                return
            for key in list(value):
                self._search((*path, key), kind or _kind_of(str(key)))
        elif isinstance(value, list):
            for index in range(len(value)):
                self._search((*path, index), kind)


def _kind_of(argument: str) -> str:
    for word in (argument, argument.removesuffix("s"), argument.removesuffix("es")):
        if word in _KIND_OF_ARGUMENT:
            return _KIND_OF_ARGUMENT[word]
    return ""


def entry_list(nodes: Nodes, path: Path, kind: str) -> None:
    """A list of nodes, written as a list, as a named mapping, or as a single node."""
    place = nodes.place
    value = place.get(path)
    if value is None:
        place.put(path, [])
        return
    if isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("type"), str)):
        origins = place.origins.at(path).copy()
        place.put(path, [value])
        place.origins.graft((*path, 0), origins)
    elif isinstance(value, dict):
        _from_mapping(place, path)
    elif not isinstance(value, list):
        place.complain(path, "a list is expected")
        place.put(path, [])
        return
    _entries(nodes, path, kind)


def _from_mapping(place: Placing, path: Path) -> None:
    """`{ema: {decay: 0.99}}`: the key is the entry's name, and its type where none is written."""
    names = list(place.get(path))
    place.listed(path)
    for index, name in enumerate(names):
        entry = (*path, index)
        value = place.get(entry)
        if value is None or isinstance(value, bool):
            place.put(entry, {"type": name, **({} if value is not False else {"enabled": False})})
        elif isinstance(value, str):
            place.wrap(entry, "type")
        node = place.get(entry)
        if isinstance(node, dict):
            for word in ("type", "name"):
                if node.get(word) is None:
                    node[word] = name
                    place.origins.set((*entry, word), value=place.origins.key(entry))


def _entries(nodes: Nodes, path: Path, kind: str) -> None:
    place = nodes.place
    index = 0
    while index < len(place.get(path)):
        if nodes.node((*path, index), kind):
            index += 1
        else:
            place.drop((*path, index))
    if kind in NAMED_KINDS:
        _unique_names(place, path, kind)


def _unique_names(place: Placing, path: Path, kind: str) -> None:
    first: dict[str, int] = {}
    for index, node in enumerate(place.get(path)):
        if node.get("name") is None:
            node["name"] = entry_name(node["type"])
        name = node["name"]
        place.ordered((*path, index), ["name", "type", "kwargs"])
        if not isinstance(name, str):
            continue
        if first.setdefault(name, index) != index:
            mark = place.origins.nearest((*path, first[name]))
            where = f", first at {mark.text}" if mark else ""
            what = f"two {kind}s are called {name!r}{where}; give one of them another `name`"
            place.complain((*path, index), what)
