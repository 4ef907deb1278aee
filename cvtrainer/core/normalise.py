"""From any accepted spelling to the one normal form, which reloads to itself.

Bare names become nodes, flat arguments move into `kwargs`, named mappings become lists, defaults
are filled in. Every value keeps its position. What cannot be understood is noted and replaced by
its default, so that the rest can still be checked. What the types mean is left to `resolve`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from cvtrainer.core.durations import Unit, parse_duration
from cvtrainer.core.errors import Problem, UserError
from cvtrainer.core.normalise_nodes import Nodes, entry_list
from cvtrainer.core.placing import Placing
from cvtrainer.core.schema import (
    DATALOADER,
    DDP,
    DEPLOY,
    INIT_FROM,
    QUANTISE,
    RUN,
    SPLIT,
    STAGE,
    TRANSFORMS,
    Form,
)
from cvtrainer.core.several_nodes import several_nodes
from cvtrainer.core.shares import parse_share
from cvtrainer.core.tree import Path, Tree

_AROUND_ZERO = "modelopt"
"""Who rounds with zero points of zero only."""
_ALWAYS = ("dataset", "tensorizer")
"""Nodes of a split that the normal form has even where they are not written."""


@dataclass
class Normal:
    """The normal form, the kinds of its nodes by path, and what was wrong."""

    tree: Tree
    nodes: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    written: dict[Path, frozenset[str]] = field(default_factory=dict)


def normalise(tree: Tree, source: FilePath | None = None) -> Normal:
    """The normal form of a composed tree; `source` gives the run its default names."""
    place = Placing(tree)
    nodes = Nodes(place)
    if "vars" in place.data:
        place.drop(("vars",))
    written: dict[Path, frozenset[str]] = {(): frozenset(place.data)}
    _wrap_bare_stage(place)
    folder = (source.resolve().parent if source else FilePath.cwd()).name or "runs"
    _default(place, (), "project", folder)
    _default(place, (), "name", source.stem if source else "run")
    for key in ("seed", "device", "deterministic", "dir", "resume", "resume_lr"):
        _default(place, (), key, RUN[key].default)
    stages = place.data.get("stages")
    if "stages" not in place.data:
        place.data["stages"] = []
    elif stages is None or not isinstance(stages, dict | list):
        place.complain(("stages",), "a list of stages is expected")
        place.data["stages"] = []
    elif isinstance(stages, dict):
        _stages_by_name(place)
    for index in range(len(place.data["stages"])):
        path: Path = ("stages", index)
        stage = place.get(path)
        written[path] = frozenset(stage) if isinstance(stage, dict) else frozenset()
        _stage(place, nodes, path)
    _unique_stage_names(place)
    place.ordered((), [key for key in RUN if key != "scan"])
    return Normal(place.tree(), nodes.kinds, place.problems, written)


def _wrap_bare_stage(place: Placing) -> None:
    data = place.data
    if "stages" in data or not any(key in STAGE for key in data if key != "name"):
        return
    data["stages"] = [{}]
    mark = place.origins.value()
    place.origins.set(("stages",), value=mark)
    place.origins.set(("stages", 0), value=mark)
    for key in [key for key in data if key != "stages" and (key not in RUN or key == "name")]:
        place.move((key,), ("stages", 0, key))


def _stages_by_name(place: Placing) -> None:
    names = list(place.data["stages"])
    place.listed(("stages",))
    for index, name in enumerate(names):
        stage = place.get(("stages", index))
        if isinstance(stage, dict) and "name" not in stage:
            stage["name"] = name
            place.origins.set(("stages", index, "name"), value=place.origins.key(("stages", index)))


def _default(place: Placing, path: Path, key: str, value: Any) -> None:
    mapping = place.get(path)
    if mapping.get(key) is None:
        mapping[key] = value


def _section(place: Placing, path: Path, what: str) -> bool:
    """Whether a mapping stands there; otherwise a complaint and null."""
    value = place.get(path)
    if isinstance(value, dict):
        return True
    if value is not None:
        place.complain(path, f"{what} is a mapping")
    place.put(path, None)
    return False


def _stage(place: Placing, nodes: Nodes, path: Path) -> None:
    if not isinstance(place.get(path), dict):
        place.complain(path, "a stage is a mapping")
        place.put(path, {})
    stage = place.get(path)
    _default(place, path, "name", _stage_name(place, path))
    for key in ("max_steps", "checkpoint", "eval_split"):
        _default(place, path, key, STAGE[key].default)
    _default(place, path, "epochs", None if stage["max_steps"] else STAGE["epochs"].default)
    _how_often(place, (*path, "eval_every"))
    _init_from(place, (*path, "init_from"))
    nodes.single((*path, "model"), STAGE["model"].of)
    nodes.single_or_named((*path, "criterion"), STAGE["criterion"].of)
    for key in ("model", "criterion"):
        if f"{key}_args" in stage:
            nodes.merge_arguments((*path, key), (*path, f"{key}_args"))
    nodes.single((*path, "task"), STAGE["task"].of)
    _optimizers(place, nodes, path)
    stage.setdefault("dataloader", None)
    if _section(place, (*path, "dataloader"), "dataloader"):
        for split in DATALOADER:
            if split in stage["dataloader"]:
                _split(place, nodes, (*path, "dataloader", split))
    else:
        stage["dataloader"] = {}
    for key in ("logger", "hooks", "meters"):
        stage.setdefault(key, None)
        entry_list(nodes, (*path, key), STAGE[key].of)
    _ddp(place, (*path, "ddp"))
    _deploy(place, (*path, "deploy"))
    _quantise(place, (*path, "quantise"))
    place.ordered(path, list(STAGE))


def _stage_name(place: Placing, path: Path) -> str:
    return "train" if len(place.data["stages"]) == 1 else f"stage{int(path[-1]) + 1}"


def _unique_stage_names(place: Placing) -> None:
    first: dict[str, int] = {}
    for index, stage in enumerate(place.data["stages"]):
        name = stage["name"]
        if isinstance(name, str) and first.setdefault(name, index) != index:
            mark = place.origins.nearest(("stages", first[name], "name"))
            where = f", first at {mark.text}" if mark else ""
            place.complain(("stages", index, "name"), f"two stages are called {name!r}{where}")


def _how_often(place: Placing, path: Path) -> None:
    """Epochs or steps; where nothing is said, every epoch."""
    holder, word = place.get(path[:-1]), path[-1]
    value = holder.get(word, 1)
    holder[word] = {"epochs": 1}
    if isinstance(value, dict):
        amount = next(iter(value.values()), None)
        part = "epochs" in value and isinstance(amount, float) and 0 < amount < 1
        if len(value) == 1 and set(value) <= {"epochs", "steps"} and (part or _count(amount)):
            holder[word] = value
        else:
            place.complain(path, "write a number of epochs, or steps as in 500st")
        return
    if value is None:
        return
    try:
        duration = parse_duration(value)
    except UserError as error:
        place.complain(path, error.what)
        return
    unit = {Unit.EPOCHS: "epochs", Unit.STEPS: "steps"}.get(duration.unit)
    part = unit == "epochs" and 0 < duration.amount < 1
    if unit is None or not (part or (duration.amount.is_integer() and duration.amount >= 1)):
        place.complain(path, f"{value!r} is no whole number of epochs or steps, nor a part of one")
        return
    holder[word] = {unit: duration.amount if part else int(duration.amount)}


def _init_from(place: Placing, path: Path) -> None:
    """A bare word is the source; where nothing is said, the stage starts fresh."""
    stage = place.get(path[:-1])
    if isinstance(stage.get("init_from"), str):
        place.wrap(path, "source")
    stage.setdefault("init_from", None)
    if _section(place, path, "init_from, unless it is a word,"):
        for key in INIT_FROM.values():
            _default(place, path, key.name, key.default)
        place.ordered(path, list(INIT_FROM))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _optimizers(place: Placing, nodes: Nodes, path: Path) -> None:
    """One node, or one for each named update."""
    nodes.single_or_named((*path, "optimizer"), "optimizer")
    stage = place.get(path)
    for inner, node in several_nodes(stage, "optimizer"):
        if node.get("layerwise") is None:
            node["layerwise"] = {}
        elif not isinstance(node["layerwise"], dict):
            place.complain((*path, *inner, "layerwise"), "a mapping of part to learning rate")
            node["layerwise"] = {}


def _split(place: Placing, nodes: Nodes, path: Path) -> None:
    if not _section(place, path, "a split"):
        return
    split = place.get(path)
    for key in SPLIT.values():
        if key.form is Form.NODE and (key.name in split or key.name in _ALWAYS):
            nodes.single((*path, key.name), key.of)
        elif key.form is Form.NODES and key.name in split:
            entry_list(nodes, (*path, key.name), key.of)
    _share(place, (*path, "max_bad"), SPLIT["max_bad"].default)
    transforms = (*path, "transforms")
    split.setdefault("transforms", None)
    if isinstance(split["transforms"], list):
        place.wrap(transforms, "transforms")
    if _section(place, transforms, "transforms"):
        _default(place, transforms, "backend", TRANSFORMS["backend"].default)
        if isinstance(split["transforms"]["backend"], str):
            split["transforms"]["backend"] = split["transforms"]["backend"].lower()
        split["transforms"].setdefault("transforms", None)
        entry_list(nodes, (*transforms, "transforms"), "transform")
        place.ordered(transforms, list(TRANSFORMS))
    split.setdefault("dataloader_args", None)
    if not _section(place, (*path, "dataloader_args"), "dataloader_args"):
        split["dataloader_args"] = {}
    place.ordered(path, list(SPLIT))


def _share(place: Placing, path: Path, default: float) -> None:
    holder = place.get(path[:-1])
    value = holder.get(path[-1])
    holder[path[-1]] = default
    if value is None:
        return
    try:
        holder[path[-1]] = parse_share(value)
    except UserError as error:
        place.complain(path, f"{error.what}; write 1% or 0.01")


def _ddp(place: Placing, path: Path) -> None:
    stage = place.get(path[:-1])
    if isinstance(stage.get("ddp"), bool):
        place.wrap(path, "enabled")
    stage.setdefault("ddp", None)
    if not _section(place, path, "ddp"):
        stage["ddp"] = {}
    for key in DDP.values():
        _default(place, path, key.name, key.default)
    place.ordered(path, list(DDP))


def _deploy(place: Placing, path: Path) -> None:
    """A bare word is the target; a stage that says nothing has no gate, and no such key."""
    stage = place.get(path[:-1])
    if isinstance(stage.get("deploy"), str):
        place.wrap(path, "target")
    if stage.get("deploy") is None or not _section(place, path, "deploy, unless it is a word,"):
        place.drop(path)
        return
    _how_often(place, (*path, "every"))
    for key in DEPLOY.values():
        _default(place, path, key.name, key.default)
    place.ordered(path, list(DEPLOY))


def _quantise(place: Placing, path: Path) -> None:
    """True is everything by default, a bare word the method; what is not asked for has no key."""
    stage = place.get(path[:-1])
    asked = stage.get("quantise")
    if asked is True:
        place.put(path, {})
    elif isinstance(asked, str):
        place.wrap(path, "method")
    elif (
        asked is None or asked is False or not _section(place, path, "quantise, unless it is yes,")
    ):
        place.drop(path)
        return
    block = place.get(path)
    if block.get("quantizer") == _AROUND_ZERO:
        if block.get("symmetric") is False:
            place.complain((*path, "symmetric"), f"{_AROUND_ZERO} has no other zero points than 0")
        _default(place, path, "symmetric", True)
    for key in QUANTISE.values():
        if key.name == "num_batches" and key.name in block:
            if block[key.name] == "None":
                block[key.name] = None  # as YAML reads Python's word
        else:
            _default(place, path, key.name, key.default)
        if key.form is Form.DURATION:
            try:
                parse_duration(block[key.name])
            except UserError as error:
                place.complain((*path, key.name), error.what)
    place.ordered(path, list(QUANTISE))
