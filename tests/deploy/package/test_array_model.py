"""A packaged model of arrays takes them as they are, and says what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import cvtrainer
from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.deploy.contract import Port
from tests.deploy.package.made import ARTEFACT, CLASSES, sources, write

SPEC = ArraySpec("x", (4, 3), (0,), "stages.a.dataloader.val.tensorizer", {"type": "log_mel"})


def package(path: Path, **changes: Any) -> Path:
    """The mean along time of three channels decides."""
    taken = Port("x", "float32", (None, None, 3))
    parts = sources(**{"spec": SPEC, "input": taken, "takes": "arrays", **changes})
    axis = numpy_helper.from_array(np.int64([1]), "axis")
    node = helper.make_node("ReduceMean", ["x", "axis"], ["output"], keepdims=0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "t", 3])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([node], "mean", [x], [y], [axis])
    opset = helper.make_opsetid("", 18)
    parts[ARTEFACT] = helper.make_model(
        graph, opset_imports=[opset], ir_version=10
    ).SerializeToString()
    return write(path / "model.cvt", parts)


def test_arrays_of_any_length_and_their_files_are_told_in_order(tmp_path: Path) -> None:
    model = cvtrainer.load(package(tmp_path))
    red, blue = np.eye(3)[[0] * 5], np.eye(3, dtype=np.float32)[[2] * 7]
    np.save(tmp_path / "b.npy", np.stack([blue, blue]))
    np.save(tmp_path / "a.npy", red.astype(np.int64))
    told = model.predict([red, blue, str(tmp_path)])
    assert [one["class"] for one in told] == [CLASSES[k] for k in (0, 2, 0, 2, 2)]
    assert not model.takes_pictures
    assert model.input_spec == SPEC


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((4, 2)), r"takes \[any, 3\], and this is \[4, 2\]"),
        (np.full((4, 3), np.nan), "it holds values that are no numbers"),
        (np.array([["a"]]), "takes float32 numbers, and this is <U1"),
        ("photo.jpg", r"takes arrays \(\.npy\), which the tensorizer log_mel"),
        ("broken.npy", "no array can be read"),
        ([1.0], "nothing can be predicted of a float"),
    ],
)
def test_what_it_does_not_take_is_told(
    given: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "broken.npy"):
        Path(name).write_bytes(b"nothing")
    model = cvtrainer.load(package(tmp_path))
    with pytest.raises((BadSample, UserError), match=told):
        model.predict(given)


@pytest.mark.parametrize("example", [(4, 2), (4,), (-1, 3), (1 << 40, 3)])
def test_a_sample_that_cannot_be_is_refused(example: tuple[int, ...], tmp_path: Path) -> None:
    spec = ArraySpec("x", example)
    with pytest.raises(UserError, match="tells of inputs that cannot be"):
        cvtrainer.load(package(tmp_path, spec=spec))


def test_numbers_of_a_kind_that_no_artefact_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tells of inputs that cannot be"):
        cvtrainer.load(package(tmp_path, input=Port("x", "object", (None, None, 3))))
