"""Values against annotations: sure mismatches only."""

from __future__ import annotations

import ast

import pytest

from cvtrainer.core.signature import Missing, Parameter
from cvtrainer.core.value_types import mismatch


def wrong(annotation, value, default=Missing.NO_DEFAULT):
    expression = ast.parse(annotation, mode="eval").body if annotation else None
    return mismatch(Parameter("x", expression, default), value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", 3),
        ("int", 3.0),
        ("float", 3),
        ("float | Tensor", 0.1),
        ("bool", True),
        ("str | None", None),
        ("Optional[str]", None),
        ("Union[int, Sequence[int]]", [1, 2]),
        ("int | tuple[int, int]", [1, 2]),
        ("tuple[float, ...]", [1, 2.5, 3]),
        ("dict[str, float]", {"a": 1}),
        ('Literal["a", "b"] | None', "a"),
        ("'int | None'", 4),
        ("_size_2_t", [1, 2]),
        ("Path", "here"),
        ("str | PathLike[str]", "here"),
        ("Callable[..., int]", "pkg.mod.function"),
        ("Any", [1]),
        ("nn.Module", {"type": "x"}),
        ("typing.Annotated[int, 'unit']", 3),
    ],
)
def test_what_fits(annotation, value):
    assert wrong(annotation, value) is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", 3.5),
        ("int", True),
        ("int", "3"),
        ("float", "fast"),
        ("float | Tensor", "fast"),
        ("bool", 1),
        ("bool", "yes"),
        ("str", 3),
        ("str | None", False),
        ("Union[int, Sequence[int]]", "ab"),
        ("tuple[int, int]", [1, 2, 3]),
        ("list[int]", [1, "b"]),
        ("dict[str, float]", {"a": "b"}),
        ('Literal["a", "b"]', "c"),
        ("'int | None'", "four"),
        ("nn.Module", 3),
    ],
)
def test_what_does_not(annotation, value):
    assert wrong(annotation, value) is not None


def test_defaults_say_a_little():
    assert wrong(None, "many", default=3)
    assert wrong(None, "yes", default=True)
    assert wrong(None, 3, default=0.5) is None
    assert wrong(None, [3, 3], default=3) is None
    assert wrong(None, {"a": 1}, default="imagenet") is None
    assert wrong("int", None, default=None) is None


def test_choices_come_with_the_nearest():
    assert wrong('Literal["mean", "sum"]', "maen") == (
        "must be one of mean, sum, not 'maen'",
        "mean",
    )
