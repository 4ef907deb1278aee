"""Random defects for shipped configs, and what a good checker should say about each.

Everything is done on the text of the files, so that lines and columns are real. What a key may be
called comes from the skeleton's tables and, for arguments, from the imported target's signature:
the checker under test reads source instead, so the two can disagree only if one is wrong.
"""

from __future__ import annotations

import importlib
import inspect
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.schema import ALIASES, SECTIONS, Form, node_words
from cvtrainer.core.suggest import distance

KINDS = (
    "misspelt key",
    "misspelt argument",
    "wrong type",
    "missing include",
    "wrong import path",
    "duplicate name",
)
IMAGE_FOLDER = "cvtrainer.data.datasets.image_folder.ImageFolder"
TORCH = {"optimizer": "torch.optim", "scheduler": "torch.optim.lr_scheduler", "loss": "torch.nn"}


@dataclass
class Spot:
    """A place in a file where a defect of some kind can be put."""

    kind: str
    file: Path
    node: yaml.Node
    candidates: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


@dataclass
class Defect:
    """A file's text with one thing wrong, and what to expect."""

    kind: str
    config: Path
    file: Path
    text: str
    line: int
    what: str
    suggestion: str | None = None


def spots(file: Path, section: str) -> list[Spot]:
    """Every place of a file; `section` says what the file's top level is."""
    root = yaml.compose(file.read_text())
    assert isinstance(root, yaml.MappingNode)
    words = [key.value for key, _ in root.value]
    if section == "run" and "stages" not in words:
        return list(_Walk(file).section(root, "stage", extra=[*SECTIONS["run"], "vars"]))
    return list(_Walk(file).section(root, section))


class _Walk:
    def __init__(self, file: Path) -> None:
        self.file = file

    def section(self, node: yaml.Node, name: str, extra: list[str] | None = None) -> Iterator[Spot]:
        if not isinstance(node, yaml.MappingNode):
            yield from self._include(node)
            return
        table = SECTIONS[name]
        known = [*table, *ALIASES.get(name, {}), *(extra or [])]
        yield from self._template(node)
        types = {key.value: value for key, value in node.value}
        for key, value in node.value:
            word = key.value
            if word in ("template", "_base_"):
                yield from self._include(value)
                continue
            if word not in ("vars", "stages"):
                yield Spot("misspelt key", self.file, key, known)
            if word in ("model_args", "criterion_args"):
                owner = types[word.removesuffix("_args")].value
                kind = "model" if word == "model_args" else "loss"
                yield from self.arguments(value, _target(owner, kind), kind)
                continue
            entry = table.get(word)
            if entry is not None:
                yield from self._entry(value, entry, word)

    def _entry(self, value: yaml.Node, entry: Any, word: str) -> Iterator[Spot]:
        if entry.form is Form.NODE:
            yield from self.node(value, entry.of)
        elif entry.form is Form.SECTION:
            yield from self.section(value, entry.of)
        elif entry.form is Form.SECTIONS:
            for item in value.value:
                yield from self.section(item, entry.of)
        elif entry.form is Form.NODES:
            if isinstance(value, yaml.SequenceNode):
                for item in value.value:
                    yield from self.node(item, entry.of)
                    if entry.of in ("hook", "meter", "logger"):
                        yield Spot("duplicate name", self.file, item)
            else:
                yield from self._include(value)
        elif entry.form is Form.MAPPING and word == "dataloader_args":
            yield from self.arguments(value, _load("cvtrainer.data.stream.LoaderOptions"), "")
        elif entry.form in (Form.INT, Form.BOOL, Form.TEXT, Form.DEVICE):
            wrong = ["[1, 2]"] if entry.form in (Form.TEXT, Form.DEVICE) else ["many", "[1, 2]"]
            if isinstance(value, yaml.ScalarNode) and "${" not in value.value:
                yield Spot("wrong type", self.file, value, options=wrong)

    def node(self, node: yaml.Node, kind: str) -> Iterator[Spot]:
        if not isinstance(node, yaml.MappingNode):
            yield from self._path(node, kind)
            return
        yield from self._template(node)
        inside = {key.value: value for key, value in node.value}
        if "template" in inside:
            yield from self._include(inside["template"])
            return
        text = inside["type"].value if "type" in inside else IMAGE_FOLDER
        target = _target(text, kind)
        for key, value in node.value:
            word = key.value
            if word == "type":
                yield Spot("misspelt key", self.file, key, ["type"])
                yield from self._path(value, kind)
            elif word in ("kwargs", "args"):
                others = [*_parameters(target), *node_words(kind)]
                yield Spot("misspelt key", self.file, key, others if word == "kwargs" else [])
                yield from self.arguments(value, target, kind)
            elif word == "layerwise":
                others = [*_parameters(target), *node_words(kind)]
                yield Spot("misspelt key", self.file, key, others)
                for _, part in value.value:
                    yield Spot("wrong type", self.file, part, options=["fast", "[0.1]"])
            elif word not in node_words(kind):
                yield from self._argument(key, value, target, kind)

    def arguments(self, node: yaml.Node, target: Any, kind: str) -> Iterator[Spot]:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from self._argument(key, value, target, kind)

    def _argument(self, key: yaml.Node, value: yaml.Node, target: Any, kind: str) -> Iterator[Spot]:
        parameters = _parameters(target)
        word = key.value
        if parameters and word in parameters:
            yield Spot("misspelt argument", self.file, key, list(parameters))
        if word == "mapping" and isinstance(value, yaml.MappingNode):
            for _, entry in value.value:
                yield from self.node(entry, "tensorizer")
        elif word == "scheduler_type":
            yield from self._path(value, "scheduler")
        elif word in parameters and isinstance(value, yaml.ScalarNode):
            options = _wrong_values(value, str(parameters[word].annotation))
            if options and "${" not in value.value and not value.value.startswith("!include"):
                yield Spot("wrong type", self.file, value, options=options)

    def _path(self, node: yaml.Node, kind: str) -> Iterator[Spot]:
        if "!include" in node.value or node.tag == "!include":
            yield from self._include(node)
        else:
            names = _siblings(node.value, kind)
            yield Spot("wrong import path", self.file, node, names)

    def _include(self, node: yaml.Node) -> Iterator[Spot]:
        if not isinstance(node, yaml.ScalarNode) or "!include" not in node.value:
            return
        if not node.value.startswith("!include ::"):
            yield Spot("missing include", self.file, node)

    def _template(self, node: yaml.MappingNode) -> Iterator[Spot]:
        if not node.flow_style and not any(key.value == "template" for key, _ in node.value):
            yield Spot("missing include", self.file, node)


def make(spot: Spot, config: Path, rng: random.Random) -> Defect | None:
    """The file with a defect at this spot, or None where the dice give something valid."""
    text = spot.file.read_text()
    node, line = spot.node, spot.node.start_mark.line + 1
    if spot.kind == "duplicate name":
        return _duplicated(spot, config, text)
    if spot.kind == "missing include":
        return _broken_include(spot, config, text, rng)
    if spot.kind == "wrong type":
        wrong = rng.choice(spot.options)
        changed = _replaced(text, node, wrong)
        return Defect(spot.kind, config, spot.file, changed, line, f"{node.value} -> {wrong}")
    old = node.value
    part = rng.choice(_parts(old)) if spot.kind == "wrong import path" else old
    new_part = edited(part, rng)
    if new_part is None or new_part in spot.candidates:
        return None
    new = old.replace(part, new_part, 1)
    raw = text[node.start_mark.index : node.end_mark.index]
    changed = _replaced(text, node, raw.replace(old, new, 1))
    meant = _clearly(new_part, part, old, spot)
    return Defect(spot.kind, config, spot.file, changed, line, f"{old} -> {new}", meant)


def edited(word: str, rng: random.Random) -> str | None:
    """The word with one slip of the fingers."""
    if len(word) < 3 and word != "lr":
        return None
    place = rng.randrange(1, len(word))
    letter = rng.choice(string.ascii_lowercase)
    new = rng.choice(
        [
            word[:place] + letter + word[place:],
            word[:place] + word[place + 1 :],
            word[:place] + letter + word[place + 1 :],
            word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :],
        ]
    )
    return new if new != word and new.isidentifier() and new not in ("n", "y", "on") else None


def _clearly(new: str, part: str, old: str, spot: Spot) -> str | None:
    """What must be suggested, where nothing else is as near."""
    if not spot.candidates:
        return None
    if spot.kind == "wrong import path":
        around = _siblings_of_part(old, part, spot.candidates)
    else:
        around = spot.candidates
    others = [distance(new, name) for name in around if name != part]
    return old if min(others, default=9) > 1 else None


def _replaced(text: str, node: yaml.Node, new: str) -> str:
    return text[: node.start_mark.index] + new + text[node.end_mark.index :]


def _duplicated(spot: Spot, config: Path, text: str) -> Defect:
    lines = text.splitlines()
    start = spot.node.start_mark.line
    end = spot.node.end_mark.line + (1 if spot.node.end_mark.column > 0 else 0)
    if not getattr(spot.node, "flow_style", True):
        end = spot.node.end_mark.line
    end = max(end, start + 1)
    while not lines[end - 1].strip() or lines[end - 1].strip().startswith("#"):
        end -= 1
    changed = [*lines[:end], *lines[start:end], *lines[end:]]
    what = f"entry of line {start + 1} twice"
    return Defect(spot.kind, config, spot.file, "\n".join(changed) + "\n", end + 1, what)


def _broken_include(spot: Spot, config: Path, text: str, rng: random.Random) -> Defect | None:
    node = spot.node
    if isinstance(node, yaml.ScalarNode):
        raw = text[node.start_mark.index : node.end_mark.index]
        broken = raw.replace(".yaml", rng.choice(["s.yaml", ".yml", "_old.yaml"]), 1)
        line = node.start_mark.line + 1
        return Defect(spot.kind, config, spot.file, _replaced(text, node, broken), line, broken)
    lines = text.splitlines()
    place, column = node.start_mark.line, node.start_mark.column
    indent = lines[place][:column]
    if indent.strip():
        if indent.strip() != "-":
            return None
        first, rest = (
            f'{indent}template: "!include gone.yaml"',
            " " * column + lines[place][column:],
        )
        changed = [*lines[:place], first, rest, *lines[place + 1 :]]
    else:
        first = f'{indent}template: "!include gone.yaml"'
        changed = [*lines[:place], first, *lines[place:]]
    return Defect(spot.kind, config, spot.file, "\n".join(changed) + "\n", place + 1, "gone.yaml")


def _wrong_values(node: yaml.ScalarNode, annotation: str) -> list[str]:
    """Values of a type that this annotation surely does not allow."""
    words = annotation.replace("|", " ").replace("[", " ").split()
    plain = [word for word in words if word in ("int", "float", "bool", "str")]
    if "Any" in annotation or "inspect._empty" in annotation or not plain:
        return []
    if "Literal" in annotation:
        return ["12.5"]
    wrong = []
    if "str" not in annotation and "Path" not in annotation:
        wrong.append("many")
    if "float" not in plain and "bool" not in plain:
        wrong.append("12.5")
    if "bool" in plain and len(plain) == 1:
        wrong.append("7")
    return wrong


def _parts(text: str) -> list[str]:
    return [part for part in text.replace(":", ".").split(".") if len(part) > 2]


def _load(dotted: str) -> Any:
    module, _, name = dotted.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)


def _target(text: str, kind: str) -> Any:
    """The imported target of a type, by other means than the checker's."""
    if "." in text or ":" in text:
        if text.startswith("apps."):
            return None
        return _load(text)
    if kind == "transform":
        vocabulary = importlib.import_module("cvtrainer.data.transforms.vocabulary")
        return getattr(vocabulary, text, None)
    known = REGISTRIES[kind].get(text) if kind in REGISTRIES else None
    return _load(known) if known else _load(f"{TORCH[kind]}.{text}")


def _parameters(target: Any) -> dict[str, inspect.Parameter]:
    if target is None:
        return {}
    found = inspect.signature(target).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found.values()):
        return {}
    return {name: one for name, one in found.items() if name not in ("params", "optimizer")}


def _siblings(text: str, kind: str) -> list[str]:
    """Names that may stand where a type's last part stands."""
    if "." in text:
        if text.startswith("apps."):
            return [text.rpartition(".")[2]]
        return dir(importlib.import_module(text.rpartition(".")[0]))
    if kind == "transform":
        names = dir(importlib.import_module("cvtrainer.data.transforms.vocabulary"))
        return [*names, *dir(importlib.import_module("albumentations"))]
    names = REGISTRIES[kind].names() if kind in REGISTRIES else []
    return [*names, *(dir(importlib.import_module(TORCH[kind])) if kind in TORCH else [])]


def _siblings_of_part(text: str, part: str, last: list[str]) -> list[str]:
    parts = text.split(".")
    if part == parts[-1]:
        return last
    if part == parts[0] or text.startswith("apps."):
        return []
    parent = importlib.import_module(".".join(parts[: parts.index(part)]))
    return dir(parent)
