"""The spec of an input: read from a stage, kept as plain values, and what sizes it gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import input_spec_of
from cvtrainer.core.input_spec import CenterCrop, Grey, InputSpec, Pad, PadTo, Resize


def stage(
    transforms: list[Any] | None = None,
    image: dict[str, Any] | None = None,
    backend: str = "Albumentations",
    **block: Any,
) -> dict[str, Any]:
    split: dict[str, Any] = {
        "dataset": {"type": "digits"},
        "tensorizer": {
            "type": "cvtrainer.data.tensorizer.Tensorizer",
            "mapping": {
                "x": {"type": "cvtrainer.data.tensorizer.ImageTensorizer", "kwargs": image or {}}
            },
        },
        **block,
    }
    if transforms is not None:
        split["transforms"] = {"backend": backend, "transforms": transforms}
    return {"name": "train", "dataloader": {"val": split}}


def test_every_step_is_read_in_its_order() -> None:
    found = input_spec_of(
        stage(
            [
                {"type": "Resize", "kwargs": {"size": 256}},
                {"type": "LongestMaxSize", "kwargs": {"max_size": 300, "antialias": True}},
                {"type": "CenterCrop", "kwargs": {"height": 224, "width": 200, "fill": [1, 2, 3]}},
                {"type": "Pad", "kwargs": {"padding": [4, 2]}},
                {"type": "PadIfNeeded", "kwargs": {"min_height": 300, "min_width": 10}},
                {"type": "ToGray", "kwargs": {"p": 1}},
            ]
        )
    )
    assert found.steps == (
        Resize(shorter=256),
        Resize(longer=300, shrink="area"),
        CenterCrop(size=(224, 200), fill=(1.0, 2.0, 3.0)),
        Pad(sides=(4, 2, 4, 2)),
        PadTo(size=(300, 10)),
        Grey(),
    )
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.size == (300, 208)


@pytest.mark.parametrize(
    ("backend", "kwargs", "shrink"),
    [
        ("Albumentations", {}, "plain"),
        ("Albumentations", {"antialias": True}, "area"),
        ("Albumentations", {"interpolation": "area"}, "area"),
        ("Torchvision", {}, "smooth"),
        ("Torchvision", {"antialias": False}, "plain"),
        ("Torchvision", {"interpolation": "nearest"}, "plain"),
    ],
)
def test_each_back_end_shrinks_in_its_own_way(
    backend: str, kwargs: dict[str, Any], shrink: str
) -> None:
    node = {"type": "Resize", "kwargs": {"height": 8, "width": 9, **kwargs}}
    (step,) = input_spec_of(stage([node], backend=backend)).steps
    assert isinstance(step, Resize)
    assert step.shrink == shrink


def test_numbers_come_from_the_tensorizer_or_from_the_device() -> None:
    plain = input_spec_of(stage(image={"normalize": None}))
    assert (plain.scaled, plain.mean, plain.std) == (True, (), ())
    whole = input_spec_of(stage(image={"normalize": None, "dtype": "uint8"}))
    assert not whole.scaled
    late = input_spec_of(
        stage(
            image={"normalize": None, "dtype": "uint8"},
            device_steps=[
                {"type": "normalize", "kwargs": {"normalize": {"mean": [0.5], "std": [0.25]}}}
            ],
        )
    )
    assert (late.scaled, late.mean, late.std) == (True, (0.5,), (0.25,))
    resized = input_spec_of(stage(image={"resize": [4, 6]}))
    assert resized.steps == (Resize(size=(4, 6), shrink="smooth", rounded=False),)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"transforms": [{"type": "HorizontalFlip", "kwargs": {"p": 0.5}}]}, "HorizontalFlip"),
        ({"transforms": [{"type": "ToGray", "kwargs": {"p": 0.5}}]}, "ToGray with"),
        ({"device_steps": [{"type": "color_jitter"}]}, "color_jitter"),
        ({"tensorizer": {"type": "x", "mapping": {"x": {"type": "vector"}}}}, "no pictures"),
    ],
)
def test_what_has_no_form_is_told_by_name(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        input_spec_of(stage(**changed))


def test_a_stage_without_evaluation_has_none() -> None:
    with pytest.raises(UserError, match="no val or test split"):
        input_spec_of({"name": "train", "dataloader": {"train": {}}})


def test_plain_values_give_the_same_spec_back() -> None:
    spec = input_spec_of(
        stage(
            [
                {"type": "SmallestMaxSize", "kwargs": {"max_size": 32}},
                {"type": "CenterCrop", "kwargs": {"size": 28, "pad_if_needed": True}},
            ],
            decode={"type": "decode", "kwargs": {"scaled": True, "truncated": "load"}},
        )
    )
    told = json.loads(json.dumps(spec.plain()))
    assert InputSpec.of_plain(told) == spec
    assert spec.scaled_jpeg
    assert spec.truncated == "load"


@pytest.mark.parametrize(
    "told", [{"colour": 3}, {"steps": [{"kind": "warp"}]}, {"steps": [{"kind": "pad", "x": 1}]}]
)
def test_what_is_not_known_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="not known"):
        InputSpec.of_plain(told)


def test_a_size_that_depends_on_the_picture_is_fitted_once() -> None:
    free = InputSpec(steps=(Resize(shorter=32),))
    assert free.size is None
    assert free.result(64, 128) == (32, 64)
    fixed = free.fitted((32, 48))
    assert fixed.size == (32, 48)
    assert fixed.notes == ("pictures become 32x48, as those of the evaluation split",)
    assert fixed.fitted((32, 48)) is fixed
