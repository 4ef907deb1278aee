"""Fields on their way: what binds name, and whether classes and channels can fit at all.

Only what is certain from the text is told here: parameters of functions that can be read, fields of
a tensorizer that lets nothing else through, numbers that are written in two places. The rest is
known with the first batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.several_nodes import several_nodes
from cvtrainer.core.signature import Signatures
from cvtrainer.core.tree import Path

_TENSORIZERS = "cvtrainer.data.tensorizer:"
_BACKBONES = "cvtrainer.models.backbones:"
_KEYPOINTS, _HEATMAPS = "cvtrainer.tasks:Keypoints", "cvtrainer.loss:HeatmapLoss"
_STRIDE = 4
"""Of both, where they name none."""
_OF_CLASSES = ("IndexTensorizer", "OneHotTensorizer", "MultiHotTensorizer", "MaskTensorizer")


def check_fields(found: Findings, signatures: Signatures) -> None:
    """Every stage's binds, classes and channels."""
    for index, stage in enumerate(found.data["stages"]):
        path: Path = ("stages", index)
        fields = _known_fields(stage)
        if isinstance(stage.get("model"), dict):
            _bind(found, signatures, (*path, "model"), "forward", fields)
        for inner, _ in several_nodes(stage, "criterion"):
            _bind(found, signatures, (*path, *inner), "forward", None)
        for place in range(len(stage["meters"])):
            _bind(found, signatures, (*path, "meters", place), "update", None)
        _classes(found, path, stage)
        _channels(found, signatures, path, stage)
        _strides(found, path, stage)


def _bind(
    found: Findings, signatures: Signatures, path: Path, method: str, fields: list[str] | None
) -> None:
    node = found.get(path)
    bind = node.get("bind")
    if not isinstance(bind, dict) or found.told((*path, "type")):
        return
    takes = signatures.method(node["type"], method)
    for name, wanted in bind.items():
        place = (*path, "bind", name)
        if takes is not None and name not in takes:
            what = f"its {method} has no such parameter; it has {', '.join(takes)}"
            found.wrong_key(place, what, closest(name, takes))
        elif fields is not None and wanted not in fields:
            made = ", ".join(one for one in fields if not one.endswith("_padding"))
            what = f"there is no field {wanted!r}; the tensorizer makes {made}"
            found.wrong_value(place, what, closest(wanted, fields))


def _known_fields(stage: Mapping[str, Any]) -> list[str] | None:
    """The fields of batches, where a tensorizer of ours makes all of them."""
    blocks = [block for block in stage["dataloader"].values() if isinstance(block, dict)]
    named: list[str] = []
    for block in blocks:
        mapping = _mapping(block)
        free = block.get("mixers") or "collate_fn" in (block.get("dataloader_args") or {})
        if mapping is None or free:
            return None
        names = [str(name).rpartition(".")[2] for name in mapping]
        named += [*names, *(f"{name}_padding" for name in names)]
    shown = dict.fromkeys(named)
    return [*shown] if blocks else None


def _mapping(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """Field to tensorizer, where the block has one of ours that refuses other fields."""
    node = block.get("tensorizer")
    if not isinstance(node, dict) or node.get("type") != f"{_TENSORIZERS}Tensorizer":
        return None
    mapping = node["kwargs"].get("mapping")
    passes = node["kwargs"].get("unmapped") == "pass"
    return mapping if isinstance(mapping, dict) and not passes else None


def _classes(found: Findings, path: Path, stage: Mapping[str, Any]) -> None:
    """A model with one `num_classes` needs as many as the targets have; a single score tells two
    classes apart."""
    numbers = {number for _, number in _written(stage.get("model"), "num_classes")}
    if len(numbers) != 1:
        return
    (scores,) = numbers
    most = max(scores, 2)
    for split, block in stage["dataloader"].items():
        mapping = _mapping(block) if isinstance(block, dict) else None
        targets = [
            name
            for name, node in (mapping or {}).items()
            if isinstance(node, dict) and node.get("type") in _class_tensorizers()
        ]
        if mapping is None or len(targets) != 1:
            continue
        here = (*path, "dataloader", split)
        place: Path = (*here, "tensorizer", "kwargs", "mapping", targets[0], "kwargs")
        known = mapping[targets[0]].get("kwargs", {}).get("num_classes")
        names = (block.get("dataset") or {}).get("kwargs", {}).get("classes")
        if isinstance(known, int) and known > most:
            what = f"{known} classes, and the model has num_classes: {scores}"
            found.wrong_value((*place, "num_classes"), what)
            return
        if isinstance(names, list) and len(names) > most:
            what = f"{len(names)} classes, and the model has num_classes: {scores}"
            found.wrong_value((*here, "dataset", "kwargs", "classes"), what)
            return


def _class_tensorizers() -> tuple[str, ...]:
    return tuple(f"{_TENSORIZERS}{name}" for name in _OF_CLASSES)


def _channels(
    found: Findings, signatures: Signatures, path: Path, stage: Mapping[str, Any]
) -> None:
    """Normalised with three means, a picture has three channels; a backbone says what it takes."""
    backbone = ((stage.get("model") or {}).get("kwargs") or {}).get("backbone")
    if not isinstance(backbone, dict) or not str(backbone.get("type")).startswith(_BACKBONES):
        return
    info = signatures.read(backbone["type"])
    if info is None or "in_channels" not in info.parameters:
        return
    takes = backbone["kwargs"].get("in_channels", info.parameters["in_channels"].default)
    for split, block in stage["dataloader"].items():
        mapping = _mapping(block) if isinstance(block, dict) else None
        node = (mapping or {}).get("x")
        if not isinstance(node, dict) or node.get("type") != f"{_TENSORIZERS}ImageTensorizer":
            continue
        made = _bands(node["kwargs"])
        if made is not None and isinstance(takes, int) and made != takes:
            what = f"normalises {made} channels, and the backbone has in_channels: {takes}"
            place: Path = (*path, "dataloader", split, "tensorizer", "kwargs", "mapping", "x")
            found.wrong_value(place, what)
            return


def _strides(found: Findings, path: Path, stage: Mapping[str, Any]) -> None:
    """Heat maps are drawn at the stride at which the task reads them."""
    task = stage.get("task")
    if not isinstance(task, dict) or task.get("type") != _KEYPOINTS:
        return
    reads = task["kwargs"].get("stride", _STRIDE)
    for _, node in several_nodes(stage, "criterion"):
        draws = node.get("kwargs", {}).get("stride", _STRIDE)
        if node.get("type") == _HEATMAPS and reads != draws:
            what = f"maps of stride {reads} are read, and the criterion has stride: {draws}"
            found.wrong_value((*path, "task", "kwargs", "stride"), what)


def _bands(arguments: Mapping[str, Any]) -> int | None:
    """Channels that the normalisation is for; one value is for any number of them."""
    normalize = arguments.get("normalize", "imagenet")
    if str(normalize).lower() == "imagenet":
        return 3
    mean = normalize.get("mean") if isinstance(normalize, dict) else None
    return len(mean) if isinstance(mean, list) and len(mean) > 1 else None


def _written(node: Any, word: str) -> Iterator[tuple[str, int]]:
    """Whole numbers under that word, at any depth of a node's arguments."""
    if isinstance(node, list):
        for part in node:
            yield from _written(part, word)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name == word and isinstance(value, int) and not isinstance(value, bool):
            yield name, value
        else:
            yield from _written(value, word)
