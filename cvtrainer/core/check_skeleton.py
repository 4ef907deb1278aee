"""The typed skeleton: unknown keys, values of the wrong form, and what must be there."""

from __future__ import annotations

import re
from typing import Any

from cvtrainer.core.check_init_from import check_init_from
from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.schema import (
    ACTING_WORDS,
    ALIASES,
    EVALUATION_KEYS,
    RUN,
    SECTIONS,
    STAGE,
    Form,
    Key,
    node_words,
)
from cvtrainer.core.tree import Path
from cvtrainer.core.value_types import shown_value

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_CHECKED_BEFORE = (Form.NODE, Form.NODES, Form.SECTION, Form.DURATION, Form.SHARE)
_FORMS: dict[Form, tuple[type | tuple[type, ...], str]] = {
    Form.TEXT: (str, "a text"),
    Form.BOOL: (bool, "true or false"),
    Form.NUMBER: ((int, float), "a number"),
    Form.MAPPING: (dict, "a mapping"),
}


def check_skeleton(found: Findings) -> None:
    """Keys and values of the run, its stages and their sections."""
    _section(found, (), "run")
    if not found.data["stages"]:
        found.missing((), "stages", "there is no stage; write a list under `stages`")
    for path, kind in found.nodes.items():
        node = found.get(path)
        for word, key in node_words(kind).items():
            if word in node and word != "type":
                _value(found, (*path, word), key, node[word])
        for word, kinds in ACTING_WORDS.items():
            if node.get(word) and kind not in kinds:
                takes = " or ".join(f"a {one}" for one in kinds)
                found.wrong_key((*path, word), f"`{word}` does nothing here; it is for {takes}")


def check_required(found: Findings, training: str) -> None:
    """What a stage cannot do without; `training` is "train", "eval" or "auto"."""
    for index, stage in enumerate(found.data["stages"]):
        path: Path = ("stages", index)
        if stage.get("model") is None and stage.get("task") is None:
            found.missing(path, "model", "a stage needs a `model`")
        if not _trains(found, path, stage, training):
            continue
        if stage.get("optimizer") is None:
            found.missing(path, "optimizer", "training needs an `optimizer`")
        loaders = stage["dataloader"]
        if loaders.get("train") is None and not found.told((*path, "dataloader")):
            inner = (*path, "dataloader") if loaders else path
            name = "train" if loaders else "dataloader"
            found.missing(inner, name, "training needs `dataloader.train`")
        for split in loaders:
            _dataset(found, (*path, "dataloader", split))
    check_init_from(found)


def _trains(found: Findings, path: Path, stage: dict[str, Any], training: str) -> bool:
    if training != "auto":
        return training == "train"
    written = found.written.get(path, frozenset()) | found.written.get((), frozenset())
    return stage.get("optimizer") is not None or not any(key in written for key in EVALUATION_KEYS)


def _dataset(found: Findings, path: Path) -> None:
    split = found.get(path)
    if isinstance(split, dict) and split.get("dataset") is None:
        found.missing(path, "dataset", "a split needs a `dataset`")


def _section(found: Findings, path: Path, name: str) -> None:
    section, mapping = SECTIONS[name], found.get(path)
    for word in mapping:
        key = section.get(word)
        if key is None:
            _unknown(found, (*path, word), name)
        elif key.form is Form.SECTION and isinstance(mapping[word], dict):
            if key.of in SECTIONS:
                _section(found, (*path, word), key.of)
        elif key.form is Form.SECTIONS:
            for index in range(len(mapping[word])):
                _section(found, (*path, word, index), key.of)
        else:
            _value(found, (*path, word), key, mapping[word])


def _unknown(found: Findings, path: Path, name: str) -> None:
    word = path[-1]
    if name == "run" and word in STAGE:
        found.wrong_key(path, "belongs to a stage, not beside `stages`")
        return
    if name == "stage" and word in RUN:
        found.wrong_key(path, "belongs beside `stages`, not into a stage")
        return
    others = RUN if name == "stage" and len(found.data["stages"]) == 1 else ()
    suggestion = closest(word, [*SECTIONS[name], *ALIASES.get(name, ())], others)
    what = "unknown key"
    if suggestion is None:
        what = f"unknown key; known here are {', '.join(SECTIONS[name])}"
    found.wrong_key(path, what, suggestion)


def _value(found: Findings, path: Path, key: Key, value: Any) -> None:
    """Whether a leaf of the skeleton has the form that its table asks for."""
    if value is None or key.form in _CHECKED_BEFORE:
        return
    if key.form is Form.TEXTS:
        if not isinstance(value, str) and not (
            isinstance(value, list) and all(isinstance(item, str) for item in value)
        ):
            found.wrong_value(path, f"must be a list of texts, not {shown_value(value)}")
    elif key.form is Form.RATE:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value not in ("keep", "initial") and not (number and value > 0):
            what = f"must be keep, initial or a learning rate, not {shown_value(value)}"
            near = closest(value, ["keep", "initial"]) if isinstance(value, str) else None
            found.wrong_value(path, what, near)
    elif key.form is Form.WEIGHTS:
        if isinstance(value, dict):
            _section(found, path, key.name)
        elif not isinstance(value, str | bool):
            what = f"must be true, a file, or a mapping with source, not {shown_value(value)}"
            found.wrong_value(path, what)
    elif key.form is Form.INT:
        _integer(found, path, key, value)
    elif key.form is Form.DEVICE:
        if not isinstance(value, str) or not _DEVICE.fullmatch(value):
            gpu = str(value).lower().startswith("gpu")
            near = "cuda" if gpu else closest(value, ["auto", "cpu", "cuda", "mps"])
            what = f"{shown_value(value)} is no device; write auto, cpu, cuda, cuda:0 or mps"
            found.wrong_value(path, what, near)
    else:
        wanted, spoken = _FORMS[key.form]
        if not isinstance(value, wanted):
            found.wrong_value(path, f"must be {spoken}, not {shown_value(value)}")
        elif key.choices and value not in key.choices:
            what = f"must be one of {', '.join(key.choices)}, not {shown_value(value)}"
            found.wrong_value(path, what, closest(value, key.choices))


def _integer(found: Findings, path: Path, key: Key, value: Any) -> None:
    unit = f" of {key.unit}" if key.unit else ""
    if isinstance(value, bool) or not isinstance(value, int):
        found.wrong_value(path, f"must be a whole number{unit}, not {shown_value(value)}")
    elif key.minimum is not None and value < key.minimum:
        found.wrong_value(path, f"must be {key.minimum:g} or more, not {value}")
