"""What the config check knows about fields, classes and channels before data is opened."""

from __future__ import annotations

from typing import Any

import pytest

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors

MODEL = {
    "type": "base_model",
    "backbone": {"type": "small_cnn"},
    "head": {"type": "multiclass", "num_classes": 3},
}


def stage(mapping: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    block = {
        "dataset": {"type": "image_folder", "data_path": "data"},
        "tensorizer": {
            "type": "tensorizer",
            "mapping": mapping or {"x": "image", "class_id": "index"},
        },
    }
    made: dict[str, Any] = {
        "model": MODEL,
        "criterion": "cross_entropy_loss",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "dataloader": {"train": block},
    }
    return {**made, **changes}


def problem(config: dict[str, Any]) -> str:
    with pytest.raises(ConfigErrors) as caught:
        compile_config(config)
    assert len(caught.value.problems) == 1, str(caught.value)
    return str(caught.value)


def test_a_bind_of_a_parameter_that_is_not_there() -> None:
    """Of the model's forward, the criterion's and the meter's update, also of several losses."""
    node = {"type": "cross_entropy_loss", "bind": {"outpt": "output"}}
    line = problem(stage(criterion=node))
    assert "criterion.bind.outpt: its forward has no such parameter; it has output, target" in line
    assert "Did you mean output?" in line
    several = {"one": "cross_entropy_loss", "two": {"type": "MSELoss", "bind": {"inpt": "output"}}}
    assert "criterion.two.bind.inpt" in problem(stage(criterion=several))
    meter = {"type": "accuracy", "bind": {"targets": "class_id"}}
    assert "meters.accuracy.bind.targets: its update has" in problem(stage(meters=[meter]))
    model = {**MODEL, "bind": {"image": "x"}}
    assert "model.bind.image: its forward has no such parameter" in problem(stage(model=model))


def test_a_bind_of_a_field_that_no_tensorizer_makes() -> None:
    line = problem(stage(model={**MODEL, "bind": {"x": "picture"}}))
    assert "there is no field 'picture'; the tensorizer makes x, class_id" in line
    compile_config(stage(model={**MODEL, "bind": {"x": "class_id"}}))


def test_fields_that_cannot_be_known_are_left_alone() -> None:
    config = stage(model={**MODEL, "bind": {"x": "picture"}})
    config["dataloader"]["train"]["tensorizer"]["unmapped"] = "pass"
    compile_config(config)
    bare = stage(model={**MODEL, "bind": {"x": "picture"}})
    del bare["dataloader"]["train"]["tensorizer"]
    compile_config(bare)


def test_more_classes_than_the_model_has() -> None:
    many = {"x": "image", "class_id": {"type": "index", "num_classes": 5}}
    line = problem(stage(many))
    assert "class_id.kwargs.num_classes: 5 classes, and the model has num_classes: 3" in line
    named = stage()
    named["dataloader"]["train"]["dataset"]["classes"] = ["a", "b", "c", "d"]
    assert "dataset.kwargs.classes: 4 classes" in problem(named)
    named["dataloader"]["train"]["dataset"]["classes"] = ["a", "b", "c"]
    compile_config(named)


def test_more_channels_than_the_backbone_takes() -> None:
    grey = {**MODEL, "backbone": {"type": "small_cnn", "in_channels": 1}}
    assert "normalises 3 channels, and the backbone has in_channels: 1" in problem(
        stage(model=grey)
    )
    single = {"x": {"type": "image", "normalize": {"mean": [0.5], "std": [0.5]}}}
    compile_config(stage({**single, "class_id": "index"}, model=grey))
    two = {"x": {"type": "image", "normalize": {"mean": [0.5, 0.5], "std": [0.5, 0.5]}}}
    assert "normalises 2 channels" in problem(stage({**two, "class_id": "index"}))


def test_one_score_is_enough_for_two_classes() -> None:
    single = {**MODEL, "head": {"type": "mask", "num_classes": 1}}
    two, three = (
        {"x": "image", "mask": {"type": "mask", "num_classes": number}} for number in (2, 3)
    )
    compile_config({"stages": [stage(two, model=single)]})
    told = problem({"stages": [stage(three, model=single)]})
    assert "3 classes, and the model has num_classes: 1" in told


def test_heat_maps_are_read_at_the_stride_they_are_drawn_at() -> None:
    mapping = {"x": "image", "keypoints": "keypoint"}
    drawn = {"type": "heatmap_loss", "stride": 8}
    told = problem({"stages": [stage(mapping, task="keypoints", criterion=drawn)]})
    assert "maps of stride 4 are read, and the criterion has stride: 8" in told
    task = {"type": "keypoints", "stride": 8}
    compile_config({"stages": [stage(mapping, task=task, criterion=drawn)]})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"criterion": {"type": "cross_entropy_loss", "phases": ["train"]}},
            "criterion.phases: `phases` does nothing here; it is for a meter",
        ),
        (
            {"hooks": [{"type": "ema", "phases": ["train"]}]},
            "hooks.ema.phases: `phases` does nothing here",
        ),
        (
            {"criterion": {"type": "cross_entropy_loss", "outputs": ["a"]}},
            "criterion.outputs: `outputs` does nothing here; it is for a model",
        ),
        (
            {"optimizer": {"type": "SGD", "lr": 0.1, "bind": {"a": "b"}}},
            "optimizer.bind: `bind` does nothing here; it is for a model or a loss or a meter",
        ),
    ],
)
def test_words_of_a_node_that_would_do_nothing_are_told(changes: Any, told: str) -> None:
    assert told in problem({"stages": [stage(**changes)]})
