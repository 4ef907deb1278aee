"""What is told of an input that is no picture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import input_of
from cvtrainer.core.input_spec import InputSpec


def stage(mapping: dict[str, Any] | None, **dataset: Any) -> dict[str, Any]:
    """A resolved stage as far as its input goes."""
    node = {} if mapping is None else {"type": "tensorizer", "mapping": mapping}
    split = {"dataset": {"type": "table", "kwargs": dataset}, "tensorizer": node}
    return {"name": "train", "dataloader": {"val": split}}


def test_who_makes_the_arrays_and_of_what_is_told_in_words() -> None:
    columns = {"inputs": ["length", "depth"], "label": "kind"}
    found = input_of(stage({"class_id": "index", "x": {"type": "numbers"}}, columns=columns))
    assert isinstance(found, ArraySpec)
    assert (found.name, found.columns) == ("x", ("length", "depth"))
    assert "the tensorizer numbers (stages.train.dataloader.val.tensorizer)" in found.words
    assert isinstance(input_of(stage({"x": {"type": "image"}})), InputSpec)
    bare = input_of(stage(None))
    assert isinstance(bare, ArraySpec)
    assert "the data set (stages.train.dataloader.val.dataset)" in bare.words
    assert bare.columns == ()
    other = input_of(stage({"sound": {"type": "a.b:LogMelTensorizer"}, "class_id": "index"}))
    assert isinstance(other, ArraySpec)
    assert (other.name, other.maker.split()[2]) == ("sound", "log_mel")


def test_plain_values_give_the_same_spec_back_and_strange_ones_are_refused() -> None:
    spec = ArraySpec("x", (9, 2), (0,), "a place", {"type": "text"}, ("one",), {"mean": [0.5]})
    told = json.loads(json.dumps(spec.plain()))
    assert ArraySpec.of_plain(told) == spec
    with pytest.raises(UserError, match="'colour', which is not known"):
        ArraySpec.of_plain({**told, "colour": 1})
    with pytest.raises(UserError, match="a tensorizer without a type"):
        ArraySpec.of_plain({**told, "tensorizer": {"kwargs": {}}})
