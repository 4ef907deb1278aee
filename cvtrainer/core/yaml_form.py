"""How plain data looks as YAML: one set of rules for reading scalars and for writing them.

Reading follows YAML 1.2 where 1.1 surprises: `1e-3` is a number, `1:30` and dates are strings,
`0o17` is octal and `010` is ten; `yes/no/on/off` stay booleans, as users of PyYAML expect, and
`None` stays a string. What is written here reads back to the same data.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

INCLUDE_TAG = "!include"

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_STR = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"

_RULES: list[tuple[str, re.Pattern[str], str]] = [
    (_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN"),
    (
        _BOOL,
        re.compile(
            r"^(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$"
        ),
        "tTfFyYnNoO",
    ),
    (
        _FLOAT,
        re.compile(
            r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
            r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
        ),
        "-+.0123456789",
    ),
    (
        _INT,
        re.compile(r"^(?:[-+]?[0-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)$"),
        "-+0123456789",
    ),
    (_MERGE, re.compile(r"^<<$"), "<"),
]


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """The rules by first character, the form in which PyYAML looks them up."""
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, starts in _RULES:
        for start in [*starts, *([""] if tag == _NULL else [])]:
            table.setdefault(start, []).append((tag, pattern))
    return table


_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class GraphLoader(_Parser):  # type: ignore[misc]
    """Parses YAML into positioned nodes, with our rules for what a plain scalar means."""

    yaml_implicit_resolvers = _resolvers()


class PlainDumper(yaml.SafeDumper):
    """Writes plain data so that the reader above gets the same data back."""

    yaml_implicit_resolvers = _resolvers()

    def ignore_aliases(self, data: Any) -> bool:
        """Equal parts are written out each time: a config has no identity to share."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """List items stand under their key, indented."""
        super().increase_indent(flow, False)


def scalar(tag: str, text: str) -> Any:
    """The value of a scalar with this resolved tag; ValueError where the text does not fit it."""
    if tag == _NULL:
        return None
    if tag == _BOOL:
        if not _RULES[1][1].match(text):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() in ("true", "yes", "on")
    if tag == _INT:
        sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-").replace("_", "")
        based = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
        return sign * int(digits if based == 10 else digits[2:], based)
    if tag == _FLOAT:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    if tag in (_STR, "!"):
        return text
    if tag == INCLUDE_TAG:
        return f"{INCLUDE_TAG} {text}"
    raise ValueError(f"unknown tag {tag.replace('tag:yaml.org,2002:', '!!')}")


def is_merge_key(node: yaml.Node) -> bool:
    """Whether a mapping's key is YAML's `<<`."""
    return bool(node.tag == _MERGE)


def dump(data: Any) -> str:
    """Plain data as YAML text, keys in their order."""
    text: str = yaml.dump(
        data,
        Dumper=PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )
    return text
