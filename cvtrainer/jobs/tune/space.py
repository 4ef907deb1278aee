"""What a sweep searches: keys of the config, each with a range or a list of values.

`log(1e-4, 1e-1)`, `float(0, 1)`, `float(0, 1, 0.1)`, `int(1, 8)`, `int(16, 64, 16)`, `logint(8,
512)`, `choice(adam, sgd)`. A value is always what an override on the command line would say, so a
choice may be any YAML.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.load import load_file
from cvtrainer.core.override import parse_value
from cvtrainer.core.suggest import nearest

Kind = Literal["float", "int", "choice"]
Values = dict[str, Any]
"""Key -> number, or the text of a choice."""

_FORM = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)
_WORDS = ("log", "float", "int", "logint", "choice")
_HOW = "Write log(a,b), float(a,b), int(a,b), logint(a,b) or choice(a,b,c)."


@dataclass(frozen=True)
class Parameter:
    """One key and what it may be."""

    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    def word(self, value: Any) -> str:
        """The override that sets this value."""
        return f"{self.key}={value!r}" if self.kind == "float" else f"{self.key}={value}"

    def ends(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice, or both ends of a range."""
        if self.kind == "choice":
            return self.choices
        return (self._exact(self.low), self._exact(self.high))

    def points(self) -> tuple[Any, ...]:
        """Every value, where they can be counted."""
        if self.kind == "choice":
            return self.choices
        step = self.step or (1 if self.kind == "int" and not self.log else None)
        if step is None:
            raise UserError(
                f"{self.key} has no steps, so a grid has no points there",
                where="--sampler grid",
                todo="List the values with choice(), or give a third number: float(0, 1, 0.1).",
            )
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return tuple(self._exact(self.low + place * step) for place in range(count))

    def _exact(self, value: float) -> float | int:
        return int(value) if self.kind == "int" else float(f"{value:.12g}")

    def as_plain(self) -> dict[str, Any]:
        """To compare with what an earlier call searched."""
        return {**vars(self), "choices": list(self.choices)}


def read_space(inline: Sequence[str] = (), file: str | Path | None = None) -> list[Parameter]:
    """The parameters of a YAML file (`key: log(1e-4, 1e-1)` or a list) and of `key=...` words."""
    written: dict[str, Any] = {}
    if file is not None:
        data = load_file(Path(file)).data
        written.update((str(key), value) for key, value in data.items())
    for text in inline:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(
                f"{text!r} is no parameter", where="-p", todo="Write key=log(1e-4,1e-1)."
            )
        if key.strip() in written:
            raise UserError("it is given twice", where=key.strip())
        written[key.strip()] = value
    if not written:
        raise UserError("there is nothing to search", where="tune sweep", todo=f"-p key=…  {_HOW}")
    return [_parameter(key, value) for key, value in written.items()]


def _parameter(key: str, written: Any) -> Parameter:
    if isinstance(written, list):
        return _choice(key, [_label(value) for value in written])
    found = _FORM.fullmatch(str(written))
    if found is None:
        raise UserError(f"{str(written)!r} is no range", where=key, todo=_HOW)
    word, arguments = found[1], _arguments(found[2])
    if word == "choice":
        return _choice(key, [_label(_value(key, text)) for text in arguments])
    if word not in _WORDS:
        near = nearest(word, _WORDS)
        raise UserError(
            f"there is no {word}(…)", where=key, todo=f"Did you mean {near}?" if near else _HOW
        )
    return _range(key, word, arguments)


def _range(key: str, word: str, arguments: Sequence[str]) -> Parameter:
    whole, log = word in ("int", "logint"), word.startswith("log")
    values = [_value(key, text) for text in arguments]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != len(values) or len(numbers) not in ((2,) if log else (2, 3)):
        raise UserError(f"{word} takes two numbers{'' if log else ' and a step'}", where=key)
    if whole and not all(isinstance(number, int) for number in numbers):
        raise UserError(f"{word} takes whole numbers", where=key)
    low, high = numbers[0], numbers[1]
    step = numbers[2] if len(numbers) == 3 else None
    if not low < high or not math.isfinite(high - low) or (step is not None and step <= 0):
        raise UserError(f"{word}({', '.join(arguments)}) holds no range", where=key)
    if log and low <= 0:
        raise UserError(f"{word} starts at {low:g}", where=key, todo="Start above 0.")
    return Parameter(key, "int" if whole else "float", low, high, step, log)


def _choice(key: str, labels: Sequence[str]) -> Parameter:
    if not labels or len(set(labels)) != len(labels):
        raise UserError("choice takes one value or more, each once", where=key)
    return Parameter(key, "choice", choices=tuple(labels))


def _label(value: Any) -> str:
    """The text that an override would say for this value."""
    if isinstance(value, str) and value and _plain(value):
        return value
    return json.dumps(value)


def _plain(text: str) -> bool:
    try:
        return bool(parse_value(text) == text and text == text.strip())
    except ValueError:
        return False


def _value(key: str, text: str) -> Any:
    try:
        return parse_value(text)
    except ValueError as error:
        raise UserError(f"{text!r} cannot be read ({error})", where=key) from error


def _arguments(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in ")}]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def grid(space: Sequence[Parameter]) -> Iterator[Values]:
    """Every combination, the last parameter running fastest."""
    keys = [parameter.key for parameter in space]
    for values in product(*(parameter.points() for parameter in space)):
        yield dict(zip(keys, values, strict=True))


def words_of(space: Sequence[Parameter], values: Values) -> list[str]:
    """The overrides of one trial."""
    return [parameter.word(values[parameter.key]) for parameter in space]


def check_space(
    config: str | Path | Mapping[str, Any], overrides: Sequence[str], space: Sequence[Parameter]
) -> None:
    """Compile the config with values from all ends of the space; raises what is wrong with it."""
    most = max(len(parameter.ends()) for parameter in space)
    for place in range(most):
        words = [
            parameter.word(parameter.ends()[min(place, len(parameter.ends()) - 1)])
            for parameter in space
        ]
        try:
            compile_config(config, [*overrides, *words], purpose="train")
        except ConfigErrors as errors:
            first = errors.problems[0]
            rest = len(errors.problems) - 1
            more = f" (and {rest} more)" if rest else ""
            todo = f"Did you mean {first.suggestion}?" if first.suggestion else None
            where = f"with {' '.join(words)}"
            raise UserError(f"{first.path}: {first.what}{more}", where=where, todo=todo) from errors
