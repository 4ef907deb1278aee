"""What would fit: the same config with a smaller width, or with smaller pictures.

Each try builds the network anew and plans it. A plan is taken to shrink with width and pictures, so
that halving finds the largest value that fits in a few tries.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.modules import import_roots
from cvtrainer.core.signature import Parameter, Signatures
from cvtrainer.core.symbols import Symbols
from cvtrainer.deploy.planner.plan import Plan
from cvtrainer.jobs.model.opened import Opened

WIDTHS = ("width", "width_mult", "width_multiplier", "channel_multiplier", "channels")
SIDES = ("image_size", "img_size", "input_size")
_INPUT = "input"
_PARTS = 20
"""A factor is tried in steps of a twentieth."""

Call = tuple[tuple[Any, ...], dict[str, Any]]
PlanOf = Callable[[nn.Module, Sequence[Any], dict[str, Any]], Plan]
T = TypeVar("T")


@dataclass(frozen=True)
class Smaller:
    """A change that fits: an override, or the shape of pictures; and what is needed then.

    `following` are overrides without which the network does not take that shape.
    """

    knob: str
    value: str
    arena_bytes: int
    size_bytes: int
    following: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As it is written behind the command."""
        first = f"--input {self.value}" if self.knob == _INPUT else f"{self.knob}={self.value}"
        return " ".join((first, *self.following))


@dataclass(frozen=True)
class _Argument:
    """A number in the config, or by default, that a part of the model takes."""

    place: tuple[str, ...]
    value: float
    is_factor: bool = False

    def text(self, opened: Opened) -> str:
        """What stands before the value behind a command."""
        other = self.value / 2 if isinstance(self.value, float) else self.value + 1
        return opened.written.key_of(opened.stage["name"], self.place, other)


def smaller(
    opened: Opened,
    name: str,
    call: Call,
    *,
    plan_of: PlanOf,
    is_small: Callable[[Plan], bool],
) -> tuple[list[Smaller], list[str]]:
    """Changes that fit, each alone; and why there are no others."""
    found: list[Smaller] = []
    missing: list[str] = []

    arguments = list(_arguments(opened))
    sized = [one for one in arguments if one.place[-1] in SIDES]

    def search(knob: str, values: Sequence[T], tried: Callable[[T], Plan], reason: str) -> None:
        best, least = largest(values, tried, is_small)
        if best is not None:
            value, planned = best
            names = [one.text(opened) for one in sized if knob == _INPUT]
            words = tuple(f"{name}={value[-1]}" for name in names if isinstance(value, tuple))
            sizes = planned.arena_bytes, planned.size_bytes
            found.append(Smaller(knob, _text(value), *sizes, words))
        elif least is not None:
            missing.append(f"{knob}: not even {_text(least)} fits")
        else:
            missing.append(f"{knob}: {reason}")

    widths = [one for one in arguments if one.place[-1] in WIDTHS]
    for one in widths:

        def narrow(value: float, one: _Argument = one) -> Plan:
            return _filled(plan_of(_rebuilt(opened, name, {one.place: value}), *call))

        knob = one.text(opened)
        search(knob, _narrower(one), narrow, "nothing less can be built")
    if not widths:
        missing.append(f"width: no part of the model takes one of {', '.join(WIDTHS)}")

    def shrink(shape: tuple[int, ...]) -> Plan:
        changes = {one.place: shape[-1] for one in sized}
        model = _rebuilt(opened, name, changes) if changes else opened.networks[name]
        return _filled(plan_of(model, *_with_shape(call, shape)))

    if _picture(call) is None:
        missing.append(f"{_INPUT}: it is no picture that could be smaller")
    else:
        reason = f"the model takes nothing smaller than {_text(_shape(call))}"
        search(_INPUT, _smaller_shapes(call), shrink, reason)
    return found, missing


def largest(
    values: Sequence[T], plan_of: Callable[[T], Plan], is_small: Callable[[Plan], bool]
) -> tuple[tuple[T, Plan] | None, T | None]:
    """The first of the values, which go from great to small, whose plan is small enough.

    And the smallest that the model takes at all, which is tried first: it may all be in vain.
    """
    places = range(len(values))
    found = next(_valid(places[::-1], values, plan_of), None)
    if found is None:
        return None, None
    high, planned = found
    smallest = values[high]
    if not is_small(planned):
        return None, smallest
    best, low, high = (smallest, planned), 0, high - 1
    while low <= high:
        middle = (low + high) // 2
        # Not every value between can be built, where channels are shared among groups or heads.
        found = next(_valid(places[middle : high + 1], values, plan_of), None)
        if found is None:
            high = middle - 1
        elif is_small(found[1]):
            best, high = (values[found[0]], found[1]), middle - 1
        else:
            low = found[0] + 1
    return best, smallest


def _valid(
    places: Iterable[int], values: Sequence[T], plan_of: Callable[[T], Plan]
) -> Iterator[tuple[int, Plan]]:
    """Those of the places whose values the network takes, with their plans."""
    for place in places:
        planned = _planned(plan_of, values[place])
        if planned is not None:
            yield place, planned


def _planned(plan_of: Callable[[T], Plan], value: T) -> Plan | None:
    """None where the network cannot be built or run so."""
    with catch_warnings():
        simplefilter("ignore")  # of layers that are all too small, while they are made
        try:
            return plan_of(value)
        except Exception:  # whatever a network makes of a size that its author never tried
            return None


def _filled(planned: Plan) -> Plan:
    """A factor can leave layers without a single channel; they fit anywhere and tell nothing."""
    if any(0 in one.shape for one in planned.layers):
        raise UserError("a layer has nothing left")
    return planned


def _arguments(opened: Opened) -> Iterator[_Argument]:
    """Numbers of a known name, written or by default, in the model's node and those inside it."""
    signatures = Signatures(Symbols(import_roots(opened.path)))

    def inside(node: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[_Argument]:
        info = signatures.read(node["type"])
        written = dict(node.get("kwargs") or {})
        defaults = info.parameters if info else {}
        for key in (*WIDTHS, *SIDES):
            parameter = defaults.get(key)
            value = written.get(key, parameter.default if parameter else None)
            if isinstance(value, int | float) and not isinstance(value, bool):
                factor = isinstance(value, float) or _takes_factor(key, parameter)
                yield _Argument((*place, "kwargs", key), value, factor)
        for key, value in written.items():
            if isinstance(value, Mapping) and isinstance(value.get("type"), str):
                yield from inside(value, (*place, "kwargs", key))

    if opened.stage.get("model"):
        yield from inside(opened.stage["model"], ())


def _takes_factor(key: str, parameter: Parameter | None) -> bool:
    """Whether a whole number there, such as 1, is a factor and no count of channels."""
    if key.endswith(("_mult", "_multiplier")):
        return True
    if parameter is None:
        return False
    annotation = parameter.annotation
    declared = isinstance(annotation, ast.Name) and annotation.id == "float"
    return declared or isinstance(parameter.default, float)


def _rebuilt(opened: Opened, name: str, changes: Mapping[tuple[str, ...], float]) -> nn.Module:
    stage = dict(deepcopy(opened.stage))
    for place, value in changes.items():
        node = stage["model"]
        for key in place[:-1]:
            node = node.setdefault(key, {})
        node[place[-1]] = value
    return opened.networks_of(stage)[name]


def _narrower(argument: _Argument) -> list[float]:
    """From just below the value down: factors in twentieths, channels one by one or by eights."""
    value = argument.value
    if isinstance(value, int) and not argument.is_factor:
        step = 8 if value > 32 else 1
        return list(range((value - 1) // step * step, 0, -step))
    return [round(value * part / _PARTS, 4) for part in range(_PARTS - 1, 0, -1)]


def _picture(call: Call) -> Tensor | None:
    args, kwargs = call
    candidates = (*args, *kwargs.values())
    return next((one for one in candidates if isinstance(one, Tensor) and one.ndim == 4), None)


def _shape(call: Call) -> tuple[int, ...]:
    picture = _picture(call)
    assert picture is not None
    return tuple(picture.shape[1:])


def _smaller_shapes(call: Call) -> list[tuple[int, ...]]:
    """Same proportions, in steps of 8 pixels, or of 4 and 2 where there are few."""
    channels, height, width = _shape(call)
    long = max(height, width)
    step = 8 if long >= 64 else 4 if long >= 32 else 2
    sides = range((long - 1) // step * step, max(step, long // 8) - 1, -step)

    def scaled(side: int, length: int) -> int:
        return max(step, round(length * side / long / step) * step)

    return [(channels, scaled(side, height), scaled(side, width)) for side in sides]


def _with_shape(call: Call, shape: tuple[int, ...]) -> Call:
    args, kwargs = call
    picture = _picture(call)
    assert picture is not None
    small = torch.zeros(1, *shape, dtype=picture.dtype)

    def changed(value: Any) -> Any:
        return small if value is picture else value

    return tuple(map(changed, args)), {key: changed(value) for key, value in kwargs.items()}


def _text(value: object) -> str:
    """`3x96x96`, or a number."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
