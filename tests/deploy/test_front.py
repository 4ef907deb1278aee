"""Pixels in, numbers inside: what a graph makes of bytes is what the input spec makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Grey,
    InputSpec,
    Pad,
    PadTo,
    Resize,
    Step,
)
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.front import Front, refuse_without_form
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.runtime.runner import outputs_of, runner_of
from cvtrainer.deploy.targets.target import target_named
from cvtrainer.pictures.prepare import handed, prepared

SIZES = [(153, 116), (44, 162), (30, 42), (5, 7), (97, 97), (1, 200), (43, 61), (300, 402)]


def pictures() -> list[np.ndarray]:
    """Noise, whose resizes differ most."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def spec_of(*steps: Step) -> InputSpec:
    return InputSpec(steps=steps, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def away(made: np.ndarray, picture: np.ndarray, spec: InputSpec) -> float:
    """The largest difference from the spec, in steps of a byte."""
    scale = np.asarray(spec.std).reshape(-1, 1, 1) * 255
    return float((np.abs(made - prepared(picture, spec)) * scale).max())


@pytest.mark.parametrize(
    ("steps", "limit"),
    [
        ([Resize(size=(43, 61), shrink="smooth")], 1.0),
        ([Resize(size=(43, 61))], 0.8),
        ([Resize(size=(43, 61), kernel="bicubic")], 0.51),
        ([Resize(size=(43, 61), kernel="bicubic", shrink="smooth")], 1.5),
        ([Resize(shorter=40, shrink="smooth"), CenterCrop(size=(32, 36))], 1.01),
        ([Resize(longer=40), PadTo(size=(44, 50)), CenterCrop(size=(32, 36))], 0.8),
        ([Pad(sides=(1, 2, 3, 4), fill=7.0), Resize(size=(32, 36))], 0.8),
        ([Grey(), Resize(size=(32, 36)), Pad(sides=(1, 0, 2, 0), fill=(1.0, 2.0, 3.0))], 1.3),
        ([Resize(size=(20, 30)), CenterCrop(size=(25, 25), pad=True, fill=9.0)], 0.8),
        ([CenterCrop(size=(20, 50), pad=True, fill=(1.0, 2.0, 3.0))], 0.01),
    ],
)
def test_whole_pictures_are_prepared_inside_to_less_than_rounding(
    steps: list[Step], limit: float
) -> None:
    spec = spec_of(*steps)
    front = Front(spec, steps=True)
    for picture in pictures():
        made = front(torch.from_numpy(picture)[None])[0].numpy()
        assert away(made, picture, spec) <= limit


def test_numbers_are_exact_where_the_steps_are_done_outside() -> None:
    spec = spec_of(Resize(size=(43, 61), shrink="smooth"))
    front = Front(spec, steps=False)
    for picture in pictures():
        made = front(torch.from_numpy(handed(picture, spec, "uint8"))[None])[0].numpy()
        assert np.array_equal(made, prepared(picture, spec))


def test_bytes_stay_bytes_for_a_network_that_takes_them() -> None:
    spec = InputSpec(steps=(Resize(size=(8, 8), shrink="smooth"),), scaled=False)
    picture = pictures()[0]
    inside = Front(spec, steps=True)(torch.from_numpy(picture)[None])
    outside = Front(spec, steps=False)(torch.from_numpy(handed(picture, spec, "uint8"))[None])
    assert inside.dtype == outside.dtype == torch.uint8
    assert int((inside.int() - outside.int()).abs().max()) <= 1
    assert np.array_equal(outside[0].numpy(), prepared(picture, spec))


def test_a_resize_without_a_form_is_told_with_what_to_do() -> None:
    for step in (Resize(size=(8, 8), shrink="area"), Resize(size=(8, 8), kernel="lanczos")):
        with pytest.raises(UserError, match=r"no form inside a graph.*--input uint8"):
            refuse_without_form(spec_of(step))


def test_rows_of_unequal_size_go_in_groups_and_constants_are_there_once() -> None:
    seen = []

    def runner(inputs: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(inputs.shape)
        return {"mean": inputs.mean(axis=(1, 2)), "anchors": np.arange(6).reshape(3, 2)}

    sizes = [(2, 2), (2, 2), (4, 3), (2, 2)]
    rows = [np.full(size, place, np.uint8) for place, size in enumerate(sizes)]
    made = outputs_of(runner, rows)
    assert seen == [(2, 2, 2), (1, 4, 3), (1, 2, 2)]
    assert made["mean"].tolist() == [0, 1, 2, 3]
    assert made["anchors"].shape == (3, 2)


def program_of(spec: InputSpec, takes: str) -> Program:
    """A tiny network behind its front."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    assert spec.size is not None

    def compute(x: Tensor) -> dict[str, Tensor]:
        return {"output": network(x).flatten(1)}

    whole = captured(Deployable(network, compute, ("output",)), torch.rand(2, 3, *spec.size))
    if takes == "float":
        return whole
    sides = (37, 53) if takes == "picture" else spec.size
    front = Front(spec, steps=takes == "picture")
    return whole.behind(front, torch.zeros(2, *sides, 3, dtype=torch.uint8), takes)


@pytest.mark.long
@pytest.mark.parametrize("takes", ["uint8", "picture"])
def test_a_graph_that_takes_bytes_says_what_the_network_says(tmp_path: Path, takes: str) -> None:
    spec = spec_of(Resize(size=(20, 24), shrink="smooth"))
    rows = {}
    for word in ("float", takes):
        program = program_of(spec, word)
        target_named("onnx").export(program, tmp_path / f"{word}.onnx")
        contract = Contract("onnx", "fp32", program.input, program.outputs, spec, takes=word)
        runner = runner_of(tmp_path / f"{word}.onnx", contract)
        given = [handed(picture, spec, word) for picture in pictures()]
        rows[word] = outputs_of(runner, given)["output"]
        if word == takes:
            free = (None, None) if takes == "picture" else (20, 24)
            assert program.input.shape == (None, *free, 3)
            assert program.input.dtype == "uint8"
    limit = 0.02 if takes == "picture" else 1e-5
    assert np.abs(rows[takes] - rows["float"]).max() < limit
