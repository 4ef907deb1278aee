"""Contracts: kept beside the artefact, read back the same, strange ones refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec, Resize
from cvtrainer.deploy.contract import (
    ARRAYS,
    Contract,
    Port,
    contract_file,
    read_contract,
    write_contract,
)

CONTRACT = Contract(
    "onnx",
    "fp32",
    Port("x", "float32", (None, 3, 8, 8)),
    (Port("probabilities", "float32", (None, 2)), Port("class_id", "int64", (None,))),
    InputSpec(steps=(Resize(size=(8, 8)),), mean=(0.5,), std=(0.2,)),
    {"type": "classification", "kwargs": {"top": 1}},
    ("cat", "dog"),
    {"samples": 4},
)


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    artefact = tmp_path / "model.onnx"
    path = write_contract(artefact, CONTRACT)
    assert path == contract_file(artefact) == contract_file(tmp_path / "model.onnx.unproven")
    assert read_contract(artefact) == CONTRACT


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 99}, "format 99"),
        ({"surprise": 1}, "surprise"),
        ({"spec": {"colour": 1}}, "colour"),
        ({"input": {"name": "x"}}, "dtype"),
        ({"input": {"name": "x", "dtype": "float33", "shape": [1]}}, "float33"),
        ({"outputs": [1]}, "changes a word"),
    ],
)
def test_a_strange_one_is_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    artefact = tmp_path / "model.onnx"
    path = write_contract(artefact, CONTRACT)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=told):
        read_contract(artefact)


def test_a_missing_or_broken_one_is_named(tmp_path: Path) -> None:
    artefact = tmp_path / "model.onnx"
    with pytest.raises(UserError, match="no contract beside it"):
        read_contract(artefact)
    contract_file(artefact).write_text("[]")
    with pytest.raises(UserError, match="a contract is no list"):
        read_contract(artefact)
    contract_file(artefact).write_text("{")
    with pytest.raises(UserError, match="not a contract"):
        read_contract(artefact)


def test_one_of_arrays_is_read_back_and_knows_the_shape_of_a_sample(tmp_path: Path) -> None:
    taken, spec = Port("x", "int64", (None, None)), ArraySpec("x", (7,), (0,))
    arrays = replace(CONTRACT, input=taken, spec=spec, takes=ARRAYS)
    write_contract(tmp_path / "model.onnx", arrays)
    assert read_contract(tmp_path / "model.onnx") == arrays
    assert arrays.example_shape(224) == (7,)
    assert CONTRACT.example_shape(224) == (3, 8, 8)
    path = contract_file(tmp_path / "model.onnx")
    path.write_text(json.dumps({**json.loads(path.read_text()), "takes": "float"}))
    with pytest.raises(UserError, match="which is not known"):
        read_contract(tmp_path / "model.onnx")
