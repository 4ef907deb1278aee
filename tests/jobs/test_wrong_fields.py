"""What data, model, loss and meters cannot be to each other: one line, at the first step or before.

Each line says where, what and what to do; a sample is named by its file, a field by its name.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.prepare import delivery
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.loss import CrossEntropyLoss, DetectionLoss, GivenLoss
from cvtrainer.models import BaseModel, TorchvisionDetector
from cvtrainer.models.adapters import FPN
from cvtrainer.models.backbones import EdgeNet
from cvtrainer.models.heads import DetectionHead
from tests.jobs.wrong_parts import PARTS
from tests.project import write_project
from tests.toy import CLASSES, ToyModel, batches

OWN = "apps.toy.parts."
NETWORK = {"type": f"{OWN}Net"}
SMALL = {
    "type": "base_model",
    "backbone": {"type": "small_cnn"},
    "head": {"type": "multiclass", "num_classes": 3},
}
DETECTOR = {
    "type": "base_model",
    "backbone": {"type": "edge_net", "taps": [8, 16, 32]},
    "adapter": {"type": "fpn", "out_channels": 16},
    "head": {"type": "detector", "num_classes": 3},
}
LIBRARY = {
    "type": "torchvision_detector",
    "kwargs": {"name": "ssdlite320_mobilenet_v3_large", "num_classes": 3},
}
OWN_LOSS = {"type": "given_loss", "bind": {"output": "loss"}}
CENTRES = {"boxes": {"type": "box", "format": "cxcywh"}, "box_labels": "index"}
FIELDS = {
    "class_id": {"class_id": "index"},
    "class_ids": {"class_ids": {"type": "multi_hot", "num_classes": 3}},
    "value": {"value": "scalar"},
    "mask": {"mask": "mask"},
    "boxes": {"boxes": "box", "box_labels": "index"},
    "nothing": {"boxes": "box", "box_labels": "index"},
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = write_project(tmp_path)
    (config.parent / "parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "apps"]:
        monkeypatch.delitem(sys.modules, name)
    return config


def write(
    config: Path, data: dict[str, Any], *, x: Any = "image", fields: Any = None, **stage: Any
) -> None:
    """One epoch of two batches of such data with such parts."""
    block = {
        "dataset": {"type": f"{OWN}Pictures", "kwargs": data},
        "tensorizer": {
            "type": "tensorizer",
            "mapping": {"x": x, **(fields or FIELDS[data.get("kind", "class_id")])},
        },
        "max_bad": 0.0,
        "dataloader_args": {"batch_size": 4, "shuffle": False},
    }
    made = {
        "epochs": 1,
        "model": NETWORK,
        "criterion": "cross_entropy_loss",
        "optimizer": {"type": "SGD", "lr": 0.01},
        "logger": ["file"],
        "meters": ["loss"],
        **stage,
        "dataloader": {"train": block},
    }
    config.write_text(yaml.safe_dump({"stages": [made]}))


def told(config: Path, capsys: pytest.CaptureFixture[str], code: int = 2) -> list[str]:
    capsys.readouterr()
    assert main(["train", "--config", str(config)]) == code
    return capsys.readouterr().err.strip().splitlines()


def refused(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    lines = told(config, capsys)
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("bad", [2, 6], ids=["first batch", "later batch"])
@pytest.mark.parametrize(
    "criterion",
    ["cross_entropy_loss", "torch.nn:CrossEntropyLoss", "focal_loss"],
)
def test_labels_beyond_the_classes(
    toy: Path, capsys: pytest.CaptureFixture[str], criterion: str, bad: int
) -> None:
    write(toy, {"bad": bad}, criterion=criterion)
    place = f"field class_id of pictures/{bad}.png (sample {bad})"
    refused(toy, capsys, place, "class number 7", "3 classes (0 to 2)", "num_classes: 8")


@pytest.mark.parametrize("criterion", ["cross_entropy_loss", "dice_loss"])
def test_mask_values_beyond_the_classes(
    toy: Path, capsys: pytest.CaptureFixture[str], criterion: str
) -> None:
    dense = {"type": f"{OWN}Net", "kwargs": {"dense": True}}
    write(toy, {"kind": "mask", "bad": 5}, criterion=criterion, model=dense)
    refused(toy, capsys, "field mask of pictures/5.png", "class number 7")
    write(toy, {"kind": "mask", "bad": 5, "label": 255}, criterion=criterion, model=dense)
    refused(toy, capsys, "field mask of pictures/5.png", "ignore_index: 255")


@pytest.mark.parametrize("short", [2, 6], ids=["first batch", "later batch"])
def test_masks_of_unequal_size_and_a_criterion_that_does_not_ignore_what_fills_them(
    toy: Path, capsys: pytest.CaptureFixture[str], short: int
) -> None:
    dense = {"type": f"{OWN}Net", "kwargs": {"dense": True}}
    write(toy, {"kind": "mask", "short": short}, model=dense)
    refused(toy, capsys, f"field mask of pictures/{short}.png", "255", "ignore_index: 255")
    ignoring = {"type": "cross_entropy_loss", "ignore_index": 255}
    write(toy, {"kind": "mask", "short": short}, criterion=ignoring, model=dense)
    assert told(toy, capsys, code=0) == []


def test_several_labels_beyond_the_classes(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tensorizer knows how many there are; it is a bad sample, and none is allowed here."""
    write(toy, {"kind": "class_ids", "bad": 5}, criterion="bce_with_logits_loss")
    lines = told(toy, capsys)
    assert any("label 7 is outside 0..2" in line and "pictures/5.png" in line for line in lines)
    assert not any("Traceback" in line for line in lines)


def test_box_labels_beyond_the_classes(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"kind": "boxes", "side": 64, "bad": 6}
    write(toy, data, model=DETECTOR, criterion="detection_loss")
    refused(toy, capsys, "field box_labels of pictures/6.png", "class number 7")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bad": 2}, ["pictures/2.png", "class number 7", "3 classes (0 to 2)"]),
        ({"bad": 6}, ["pictures/6.png", "class number 7", "num_classes: 8 or more at the model,"]),
        ({"bad": 6, "label": -1}, ["pictures/6.png", "class number -1", "begin at 0"]),
        ({"bad": 2, "label": -5}, ["pictures/2.png", "class number -5", "begin at 0"]),
    ],
)
def test_box_labels_that_a_model_takes_itself(
    toy: Path, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any], words: list[str]
) -> None:
    data = {"kind": "boxes", "side": 64, **wrong}
    fields = {"boxes": "box", "box_labels": f"{OWN}Raw"}
    write(toy, data, fields=fields, model=LIBRARY, criterion=OWN_LOSS)
    refused(toy, capsys, "model: field box_labels of ", *words)


@pytest.mark.parametrize("small", [2, 6], ids=["first batch", "later batch"])
@pytest.mark.parametrize(
    ("model", "criterion"), [(DETECTOR, "detection_loss"), (LIBRARY, OWN_LOSS)]
)
def test_boxes_of_another_form(
    toy: Path, capsys: pytest.CaptureFixture[str], model: Any, criterion: Any, small: int
) -> None:
    data = {"kind": "boxes", "side": 64, "small": small}
    write(toy, data, fields=CENTRES, model=model, criterion=criterion)
    place = f"field boxes of pictures/{small}.png (sample {small})"
    refused(toy, capsys, place, "ends before it begins (35, 35.5, 10, 11)", "format: xyxy")


def test_pictures_without_boxes_train(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"kind": "nothing", "side": 64}
    write(toy, data, model=DETECTOR, criterion="detection_loss")
    assert told(toy, capsys, code=0) == []


def test_a_class_more_than_the_head_has(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known from the data set's names, although no sample of the first batch has it."""
    model = {**SMALL, "head": {"type": "multiclass", "num_classes": 2}}
    write(toy, {}, model=model)
    tree = yaml.safe_load(toy.read_text())
    tree["stages"][0]["dataloader"]["train"]["dataset"] = {"data_path": "data/train"}
    toy.write_text(yaml.safe_dump(tree))
    lines = told(toy, capsys)
    assert "the data has 3 classes (class_0, class_1, class_2)" in lines[-1]
    assert "num_classes: 3" in lines[-1]


@pytest.mark.parametrize("model", [NETWORK, SMALL], ids=["own", "built in"])
def test_grey_pictures_in_a_network_of_colours(
    toy: Path, capsys: pytest.CaptureFixture[str], model: dict[str, Any]
) -> None:
    write(toy, {"channels": 1}, x={"type": "image", "normalize": None}, model=model)
    layer = "layer stem (Conv2d)" if model is NETWORK else "layer backbone."
    words = ("takes 3 channels and gets 1", "x [4, 1, 12, 12]", "pictures/0.png", "in_channels")
    refused(toy, capsys, layer, *words)


def test_colours_in_a_network_of_grey_pictures(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {**SMALL, "backbone": {"type": "small_cnn", "in_channels": 1}}
    write(toy, {}, model=model)
    refused(toy, capsys, "mapping.x", "normalises 3 channels", "in_channels: 1")
    write(toy, {}, x={"type": "image", "normalize": None}, model=model)
    refused(toy, capsys, "layer backbone.", "takes 1 channels and gets 3")


def test_pictures_smaller_than_the_strides(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(toy, {"side": 4})
    refused(toy, capsys, "layer pool (MaxPool2d)", "x [4, 3, 4, 4]", "Give larger pictures")
    data = {"kind": "boxes", "side": 20}
    write(toy, data, model=DETECTOR, criterion="detection_loss")
    refused(toy, capsys, "field x of pictures/0.png", "20 x 20", "stride 32")
    write(toy, {"kind": "boxes", "side": 31}, model=LIBRARY, criterion=OWN_LOSS)
    refused(toy, capsys, "field x of pictures/0.png", "31 x 31", "stride 32")
    write(toy, {"kind": "nothing", "side": 32}, model=LIBRARY, criterion=OWN_LOSS)
    assert told(toy, capsys, code=0) == []
    write(toy, {"side": 16}, model={**SMALL, "backbone": {"type": "edge_net"}})
    words = ("layer backbone.stages.4.", "(Conv2d)", "map of 1 x 1", "x [4, 3, 16, 16]")
    refused(toy, capsys, *words, "pictures/0.png", "Give larger pictures")
    write(toy, {"side": 17}, model={**SMALL, "backbone": {"type": "edge_net"}})
    assert told(toy, capsys, code=0) == []


def test_pixels_that_are_no_floats(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(toy, {}, x={"type": "image", "normalize": None, "dtype": "uint8"})
    refused(toy, capsys, "layer stem (Conv2d)", "uint8", "tensorizer")


@pytest.mark.parametrize(
    ("gives", "criterion", "words"),
    [
        ("scores", f"{OWN}NaNLoss", ["is NaN", "the computation itself", "nan_guard"]),
        ("nan", "cross_entropy_loss", ["is NaN", "NaN stands in the model's output"]),
        ("scores", f"{OWN}EachLoss", ["the loss has the shape [4]", "reduction: mean"]),
        ("scores", f"{OWN}PartLoss", ["the loss's part 'kinds' has the shape [4]"]),
        ("detached", "cross_entropy_loss", ["does not depend on any weight"]),
        ("text", "cross_entropy_loss", ["it returns str"]),
        ("one", "cross_entropy_loss", ["field class_id", "1 class"]),
        ("flat", "cross_entropy_loss", ["output [4] float32, class_id [4] int64"]),
        ("three", "cross_entropy_loss", ["output [4, 3, 1] float32, class_id [4] int64"]),
        ("pair", "cross_entropy_loss", ["it returns 2 values, outputs names 1: scores"]),
    ],
)
def test_what_a_loss_or_a_model_returns(
    toy: Path, capsys: pytest.CaptureFixture[str], gives: str, criterion: str, words: list[str]
) -> None:
    model: dict[str, Any] = {"type": f"{OWN}Net", "kwargs": {"gives": gives}}
    if gives == "pair":
        model["outputs"] = ["scores"]
    write(toy, {}, model=model, criterion=criterion)
    refused(toy, capsys, *words)


def test_a_part_of_a_loss_may_be_a_plain_number(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"type": f"{OWN}Net", "kwargs": {"gives": "scores"}}
    write(toy, {}, model=model, criterion=f"{OWN}CountedLoss", meters=[])
    assert told(toy, capsys, code=0) == []


def test_a_value_of_the_data_that_is_no_number(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"type": f"{OWN}Net", "kwargs": {"gives": "flat"}}
    raw = {"value": f"{OWN}Raw"}
    write(toy, {"kind": "value", "bad": 2}, fields=raw, model=model, criterion="MSELoss")
    refused(toy, capsys, "is NaN", "field target.value of pictures/2.png")


@pytest.mark.parametrize(
    ("gives", "criterion", "words"),
    [
        ("one", "MSELoss", ["output [4, 1] float32, value [4]", "shapes differ", "Squeeze"]),
        ("scores", "MSELoss", ["output [4, 3] float32, value [4]", "one number for each"]),
        ("scores", f"{OWN}OwnLoss", ["apps/toy/parts.py:", "output [4, 3] float32, value [4]"]),
        ("scores", "torch.nn:BCEWithLogitsLoss", ["output [4, 3] float32, value [4]"]),
        ("scores", "cross_entropy_loss", ["value [4] float32", "tensorizer index"]),
    ],
)
def test_numbers_of_other_shapes_or_kinds(
    toy: Path, capsys: pytest.CaptureFixture[str], gives: str, criterion: str, words: list[str]
) -> None:
    """torch would stretch some of them over each other and warn; the result would be nonsense."""
    model = {"type": f"{OWN}Net", "kwargs": {"gives": gives}}
    write(toy, {"kind": "value"}, model=model, criterion=criterion)
    refused(toy, capsys, *words)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            {"criterion": {"type": "cross_entropy_loss", "bind": {"output": "scores"}}},
            ["criterion: bind", "'scores'", "there is class_id, x,", "output"],
        ),
        (
            {"criterion": {"type": "cross_entropy_loss", "bind": {"target": "label"}}},
            ["criterion: bind", "'label'", "there is class_id, x,", "output"],
        ),
        (
            {"meters": [{"type": "accuracy", "bind": {"output": "scores"}}]},
            ["meters.accuracy", "scores", "output"],
        ),
        (
            {"task": {"type": "classification", "output": "scores"}, "val": True},
            ["task classification", "'scores'", "output"],
        ),
        (
            {"meters": ["accuracy"], "model": {"type": f"{OWN}Net", "kwargs": {"gives": "flat"}},
             "criterion": "MSELoss", "kind": "value"},
            ["meters.accuracy", "output [4] float32"],
        ),
        ({"meters": [f"{OWN}WrongShapes"]}, ["meters.wrong_shapes", "WrongShapes cannot count"]),
    ],
    ids=["output", "target", "meter", "task", "form for a meter", "library in a meter"],
)  # fmt: skip
def test_names_and_forms_that_do_not_exist(
    toy: Path, capsys: pytest.CaptureFixture[str], stage: dict[str, Any], words: list[str]
) -> None:
    stage = dict(stage)
    kind, evaluates = stage.pop("kind", "class_id"), stage.pop("val", False)
    write(toy, {"kind": kind}, **stage)
    if evaluates:
        tree = yaml.safe_load(toy.read_text())
        loaders = tree["stages"][0]["dataloader"]
        loaders["val"] = dict(loaders["train"])
        toy.write_text(yaml.safe_dump(tree))
    refused(toy, capsys, *words)


def test_a_mistake_in_own_code_keeps_its_traceback(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(toy, {}, model={"type": f"{OWN}Net", "kwargs": {"gives": "bug"}})
    lines = told(toy, capsys, code=1)
    assert any("Traceback" in line for line in lines)
    assert any("parts.py" in line for line in lines)


def test_a_batch_bound_for_a_device_is_looked_at_on_the_host() -> None:
    """A device tells late and badly; what was learnt with the first batch is enough to know."""
    first, later = batches(2)
    task = SupervisedTask(ToyModel(), CrossEntropyLoss())
    task.compute(first)
    later["target"]["class_id"][1] = CLASSES
    deliver = delivery(Plan(torch.device("meta")), task.refuse_unknown)
    with pytest.raises(Exception, match=rf"class_id of sample \d+: class number {CLASSES}"):
        deliver(later, Finished())  # type: ignore[arg-type]
    later["target"]["class_id"][1] = 0
    assert deliver(later, Finished())["x"].is_meta  # type: ignore[arg-type]


@pytest.mark.parametrize("library", [False, True])
def test_boxes_bound_for_a_device_are_looked_at_on_the_host(library: bool) -> None:
    """A criterion says what it takes, or the model that has the loss itself."""
    small = EdgeNet(0.25, depth=0.5, taps=[8, 16])
    own = BaseModel(small, FPN(8), DetectionHead(3, bins=4))
    model = TorchvisionDetector("ssdlite320_mobilenet_v3_large", 3) if library else own
    criterion = GivenLoss() if library else DetectionLoss()
    bound = {"output": "loss"} if library else None
    task = SupervisedTask(model, criterion, bind_criterion=bound)
    boxes = torch.tensor([[[2.0, 2, 20, 20], [9, 9, 9, 9]], [[4, 4, 30, 30], [0, 0, 0, 0]]])
    target = {
        "boxes": boxes,
        "boxes_padding": torch.tensor([[False, False], [False, True]]),
        "box_labels": torch.tensor([[0, 2], [1, -1]]),
        "box_labels_padding": torch.tensor([[False, False], [False, True]]),
    }
    batch = {"x": torch.rand(2, 3, 32, 32), "target": target, "meta": {"path": ["a.png", "b.png"]}}
    task.compute(batch)
    deliver = delivery(Plan(torch.device("meta")), task.refuse_unknown)
    assert deliver(batch, Finished())["x"].is_meta  # type: ignore[arg-type]
    for label in (-5, 3):
        target["box_labels"][1, 0] = label
        with pytest.raises(UserError, match=f"field box_labels of b.png: class number {label}"):
            deliver(batch, Finished())  # type: ignore[arg-type]
    target["box_labels"][1, 0] = 1
    boxes[0, 1] = torch.tensor([9.0, 9, 9, 8])
    with pytest.raises(
        UserError, match=r"field boxes of a.png: a box ends before .*\(9, 9, 9, 8\)"
    ):
        deliver(batch, Finished())  # type: ignore[arg-type]


class Finished:
    def finish(self, batch: Any) -> Any:
        return batch
