"""Whether a config's value can be what a parameter's annotation asks for.

Works on the annotation as an expression. Names that a config value may or may not satisfy (paths,
aliases, classes that are built from nodes) count as fitting: only a sure mismatch is told. Without
an annotation the default's type says a little: a text is no number, and neither is true or false.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from cvtrainer.core.signature import Missing, Parameter, literal
from cvtrainer.core.suggest import nearest

Fits = bool | None
"""True, False, or None where the annotation cannot be judged."""

_SEQUENCES = {
    "list", "List", "tuple", "Tuple", "set", "Set", "frozenset", "Sequence", "Iterable",
    "Collection", "MutableSequence",
}  # fmt: skip
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping"}
_NOT_PLAIN = {"Tensor", "Module", "ndarray", "Generator", "Optimizer", "Parameter"}
_TRANSPARENT = {"Final", "Annotated", "InitVar", "Required", "ReadOnly"}


def mismatch(parameter: Parameter, value: Any) -> tuple[str, str | None] | None:
    """What is wrong with a value given to a parameter, and what was meant; None if nothing is."""
    if parameter.annotation is not None:
        annotation = unquoted(parameter.annotation)
        if value is None and parameter.default is None:
            return None
        if fits(annotation, value) is not False:
            return None
        choices = _choices(annotation)
        if choices:
            meant = nearest(value, choices) if isinstance(value, str) else None
            return f"must be one of {', '.join(choices)}, not {shown_value(value)}", meant
        return f"must be {_spoken(annotation)}, not {shown_value(value)}", None
    wanted = _from_default(parameter.default)
    if wanted is None or not wanted[1](value):
        return None
    return f"must be {wanted[0]}, not {shown_value(value)}", None


def fits(annotation: ast.expr, value: Any) -> Fits:
    """Whether a plain value satisfies an annotation."""
    annotation = unquoted(annotation)
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _any([fits(annotation.left, value), fits(annotation.right, value)])
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return value is None
    if isinstance(annotation, ast.Subscript):
        return _subscript(_last(annotation.value), annotation.slice, value)
    if isinstance(annotation, ast.Name | ast.Attribute):
        return _name(_last(annotation), value)
    return None


def unquoted(annotation: ast.expr) -> ast.expr:
    """An annotation written as a text, parsed."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return annotation
    return annotation


def shown_value(value: Any) -> str:
    """A value as messages show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a mapping"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _name(name: str, value: Any) -> Fits:
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain(value)
    if name in _SEQUENCES:
        return isinstance(value, list)
    if name in _MAPPINGS:
        return isinstance(value, dict)
    if name in _NOT_PLAIN:
        return isinstance(value, dict) and "type" in value
    return None


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: _is_number(value) and float(value).is_integer(),
    "float": lambda value: _is_number(value),
    "Number": lambda value: _is_number(value),
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "Path": lambda value: isinstance(value, str),
    "PathLike": lambda value: isinstance(value, str),
    "None": lambda value: value is None,
    "NoneType": lambda value: value is None,
    "Any": lambda value: True,
    "object": lambda value: True,
}


def _subscript(name: str, inside: ast.expr, value: Any) -> Fits:
    parts = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
    if name == "Literal":
        known = [literal(part) for part in parts]
        return None if Missing.NOT_LITERAL in known else _among(value, known)
    if name == "Optional":
        return True if value is None else fits(parts[0], value)
    if name == "Union":
        return _any([fits(part, value) for part in parts])
    if name in _TRANSPARENT:
        return fits(parts[0], value)
    if name in _MAPPINGS:
        if not isinstance(value, dict) or len(parts) != 2:
            return isinstance(value, dict)
        return _all([fits(parts[1], item) for item in value.values()])
    if name in _SEQUENCES:
        return _sequence(name, parts, value)
    return None


def _sequence(name: str, parts: list[ast.expr], value: Any) -> Fits:
    if not isinstance(value, list):
        return isinstance(value, str) and fits(parts[0], value) is True and name == "Sequence"
    if name in ("tuple", "Tuple") and not _has_dots(parts):
        if len(value) != len(parts):
            return False
        return _all([fits(part, item) for part, item in zip(parts, value, strict=True)])
    return _all([fits(parts[0], item) for item in value])


def _has_dots(parts: list[ast.expr]) -> bool:
    return any(isinstance(part, ast.Constant) and part.value is ... for part in parts)


def _among(value: Any, known: list[Any]) -> bool:
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in known)


def _any(answers: list[Fits]) -> Fits:
    return True if True in answers else None if None in answers else False


def _all(answers: list[Fits]) -> Fits:
    return False if False in answers else None if None in answers else True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _choices(annotation: ast.expr) -> list[str]:
    """The words of a Literal anywhere in the annotation, when it allows nothing else."""
    if isinstance(annotation, ast.BinOp):
        return [*_choices(unquoted(annotation.left)), *_choices(unquoted(annotation.right))]
    if isinstance(annotation, ast.Subscript):
        inside = annotation.slice
        parts = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
        if _last(annotation.value) == "Literal":
            return [str(literal(part)) for part in parts]
        if _last(annotation.value) in ("Optional", "Union"):
            return [word for part in parts for word in _choices(unquoted(part))]
    return []


_SPOKEN = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "None": "null",
}


def _spoken(annotation: ast.expr) -> str:
    if isinstance(annotation, ast.BinOp):
        left, right = _spoken(unquoted(annotation.left)), _spoken(unquoted(annotation.right))
        return f"{left} or {right}"
    text = ast.unparse(annotation)
    return _SPOKEN.get(text, text)


def _from_default(default: Any) -> tuple[str, Callable[[Any], bool]] | None:
    """What a default's type asks for, and a test that says a value is surely not that."""
    if isinstance(default, bool):
        return "true or false", lambda value: not isinstance(value, bool) and value is not None
    if isinstance(default, int | float):
        return "a number", lambda value: isinstance(value, str | bool)
    return None
