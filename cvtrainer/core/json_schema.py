"""The JSON schema that editors use to complete and check configs while they are written.

Made from the tables of `schema`, so it cannot say anything else than the checker. Arguments of a
node stay open here; only `config check` reads the signatures of their targets.
"""

from __future__ import annotations

from typing import Any

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.schema import ALIASES, SECTIONS, Form, Key, node_words

_PLAIN: dict[Form, dict[str, Any]] = {
    Form.TEXT: {"type": "string"},
    Form.INT: {"type": "integer"},
    Form.NUMBER: {"type": "number"},
    Form.BOOL: {"type": "boolean"},
    Form.DEVICE: {"type": "string", "pattern": r"^(auto|cpu|mps|cuda(:\d+)?)$"},
    Form.DURATION: {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ep(ochs?)?|st(eps?)?)$"},
            {"type": "object"},
        ]
    },
    Form.SHARE: {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"},
        ]
    },
    Form.RATE: {"anyOf": [{"enum": ["keep", "initial"]}, {"type": "number"}]},
    Form.TEXTS: {"type": "array", "items": {"type": "string"}},
    Form.MAPPING: {"type": "object"},
}
_INCLUDE = {"type": "string", "pattern": "^!include "}


def json_schema() -> dict[str, Any]:
    """The schema of a config file, `stages:` file or bare stage."""
    kinds = sorted(
        {key.of for section in SECTIONS.values() for key in section.values() if _node(key)}
    )
    definitions = {name: _section(name) for name in SECTIONS}
    definitions.update({f"node_{kind}": _node_schema(kind) for kind in kinds})
    run = definitions.pop("run")
    bare = {**run["properties"], **definitions["stage"]["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cvtrainer config",
        "description": "A run: a list of stages, or one bare stage.",
        "if": {"required": ["stages"]},
        "then": run,
        "else": {**definitions["stage"], "properties": bare},
        "$defs": definitions,
    }


def _node(key: Key) -> bool:
    return key.form in (Form.NODE, Form.NODES)


def _section(name: str) -> dict[str, Any]:
    properties = {key.name: _value(key) for key in SECTIONS[name].values()}
    for word, doc in ALIASES.get(name, {}).items():
        properties[word] = {"type": "object", "description": doc}
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": {"^_base_$|^template$": True},
        "additionalProperties": False,
    }


def _value(key: Key) -> dict[str, Any]:
    notes: dict[str, Any] = {"description": key.doc + (f" Unit: {key.unit}." if key.unit else "")}
    if key.default is not None:
        notes["default"] = key.default
    value = _form(key)
    if key.minimum is not None:
        value = {**value, "minimum": key.minimum}
    if key.choices:
        value = {**value, "enum": list(key.choices)}
    options = [value, {"type": "null"}]
    return {**notes, "anyOf": options if key.form is Form.TEXT else [*options, _INCLUDE]}


def _form(key: Key) -> dict[str, Any]:
    if key.form is Form.NODE:
        return {"$ref": f"#/$defs/node_{key.of}"}
    if key.form is Form.NODES:
        node = {"$ref": f"#/$defs/node_{key.of}"}
        return {"anyOf": [{"type": "array", "items": node}, {"type": "object"}]}
    if key.form is Form.SECTION:
        section = {"$ref": f"#/$defs/{key.of}"}
        short = [{"type": "string"}] if key.word else []
        short += [{"type": "boolean"}] if key.switch else []
        return {"anyOf": [*short, section]} if short else section
    if key.form is Form.SECTIONS:
        return {"type": "array", "items": {"$ref": f"#/$defs/{key.of}"}}
    if key.form is Form.WEIGHTS:
        options = [{"type": "boolean"}, {"type": "string"}, {"$ref": f"#/$defs/{key.name}"}]
        return {"anyOf": options}
    return dict(_PLAIN[key.form])


def _node_schema(kind: str) -> dict[str, Any]:
    names = REGISTRIES[kind].names() if kind in REGISTRIES else []
    text: dict[str, Any] = {"type": "string"}
    if names:
        text = {"anyOf": [{"enum": names}, {"type": "string"}]}
    properties = {
        word: {"description": key.doc, **text} if word == "type" else _value(key)
        for word, key in node_words(kind).items()
    }
    return {"anyOf": [text, {"type": "object", "properties": properties}]}
