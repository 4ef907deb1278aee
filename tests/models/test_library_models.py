"""Models of torchvision and segmentation-models-pytorch through our tasks: trained, evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cvtrainer
from cvtrainer.cli.program import main
from cvtrainer.core.errors import UserError
from cvtrainer.models import TorchvisionDetector, TorchvisionSegmenter
from cvtrainer.models.backbones import TorchvisionPyramid

FIELDS = {
    "boxes": {
        "fields": ["boxes", "box_labels"],
        "mapping": {"boxes": "box", "box_labels": "index"},
    },
    "mask": {"fields": ["mask"], "mapping": {"mask": "mask"}},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(model: dict[str, Any], target: str, **more: Any) -> dict[str, Any]:
    world = {"type": "picture_world", "count": 4, "size": 64, "fields": FIELDS[target]["fields"]}
    mapping = {"x": {"type": "image", "normalize": None}, **FIELDS[target]["mapping"]}
    split = {
        "dataset": world,
        "tensorizer": {"type": "tensorizer", "mapping": mapping},
        "dataloader_args": {"batch_size": 2},
    }
    stage = {
        "name": "train",
        "epochs": 1,
        "model": model,
        "optimizer": {"type": "SGD", "lr": 1e-3},
        "dataloader": {"train": split, "val": {**split, "dataset": {**world, "split": "val"}}},
    }
    return {"project": "p", "name": "n", "dir": "run", "stages": [{**stage, **more}]}


DETECTION = {
    "criterion": {"type": "given_loss", "bind": {"output": "loss"}},
    "meters": ["loss", "box_map"],
}
SEGMENTATION = {
    "criterion": {"type": "cross_entropy_loss", "ignore_index": 255},
    "task": "segmentation",
    "meters": ["loss", "mean_iou"],
}


def detector(name: str) -> dict[str, Any]:
    return {"type": "torchvision_detector", "kwargs": {"name": name, "num_classes": 6, "most": 10}}


@pytest.mark.parametrize(
    "name",
    [
        "ssdlite320_mobilenet_v3_large",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        pytest.param("fcos_resnet50_fpn", marks=pytest.mark.long),
    ],
)
def test_detectors_of_torchvision(name: str, place: Path) -> None:
    result = cvtrainer.train(config(detector(name), "boxes", **DETECTION))
    found = result.metrics["train"]
    assert found["val/loss"] > 0
    assert 0 <= found["val/map_50"] <= 1
    again = cvtrainer.evaluate(
        config(detector(name), "boxes", **DETECTION), checkpoint="run/checkpoints/best_model.pth"
    )
    assert again == {key: found[key] for key in again}, "an evaluation does not depend on luck"


def test_model_show_and_predict_of_a_detector(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown is what a prediction costs; the loss that an evaluation computes besides is not."""
    model = detector("ssdlite320_mobilenet_v3_large")
    Path("t.yaml").write_text(yaml.safe_dump(config(model, "boxes", **DETECTION)))
    assert main(["model", "show", "--config", "t.yaml", "--depth", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown["outputs"]) == ["found_boxes", "found_scores", "found_classes"]
    assert shown["outputs"]["found_boxes"] == [1, 10, 4]
    assert shown["capabilities"] == []
    assert shown["training_bytes"] > 0
    by_shape = ["model", "show", "--config", "t.yaml", "--input", "3x64x64"]
    assert main([*by_shape, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] == shown["macs"]
    assert main([*by_shape, "--depth", "0"]) == 0
    assert "nothing that is promised" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_segmentation_of_torchvision(name: str, place: Path) -> None:
    node = {"type": "torchvision_segmenter", "kwargs": {"name": name, "num_classes": 6}}
    found = cvtrainer.train(config(node, "mask", **SEGMENTATION)).metrics["train"]
    assert found["val/loss"] > 0
    assert 0 <= found["val/miou"] <= 1


def test_an_auxiliary_output_has_a_loss_of_its_own(place: Path) -> None:
    arguments = {"name": "deeplabv3_mobilenet_v3_large", "num_classes": 6, "auxiliary": True}
    node = {"type": "torchvision_segmenter", "kwargs": arguments}
    loss = {"type": "cross_entropy_loss", "ignore_index": 255}
    both = {
        "main": loss,
        "aux": {**loss, "factor": 0.5, "bind": {"output": "auxiliary", "target": "mask"}},
    }
    words = {**SEGMENTATION, "criterion": both}
    found = cvtrainer.train(config(node, "mask", **words)).metrics["train"]
    assert found["val/loss"] == pytest.approx(
        found["val/loss_main"] + 0.5 * found["val/loss_aux"], rel=1e-4
    )


@pytest.mark.parametrize("name", ["Unet", "FPN"])
def test_segmentation_models_pytorch_by_path(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its default would download an encoder's weights; here none are asked for."""
    pytest.importorskip("segmentation_models_pytorch")
    node = {
        "type": f"segmentation_models_pytorch.{name}",
        "encoder_name": "resnet18",
        "in_channels": 3,
        "classes": 6,
    }
    given = config(node, "mask", **SEGMENTATION)
    found = cvtrainer.train(given).metrics["train"]
    assert 0 <= found["val/miou"] <= 1
    Path("t.yaml").write_text(yaml.safe_dump(given))
    assert main(["model", "show", "--config", "t.yaml", "--depth", "0"]) == 0
    assert "1x6x64x64" in capsys.readouterr().out


def test_found_boxes_are_those_of_torchvision() -> None:
    """In pixels of the input, classes from 0, filled up with a score of 0."""
    torch.manual_seed(0)
    model = TorchvisionDetector("ssdlite320_mobilenet_v3_large", 3, most=400).eval()
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found, theirs = model(x), model.network(list(x))
    for place, one in enumerate(theirs):
        count = len(one["scores"])
        assert torch.equal(found["found_boxes"][place, :count], one["boxes"])
        assert torch.equal(found["found_classes"][place, :count], one["labels"] - 1)
        assert (found["found_scores"][place, count:] == 0).all()
        assert one["boxes"][:, 2].max() <= 96
    assert found["found_boxes"].shape == (2, 400, 4)


def test_empty_boxes_and_unknown_labels() -> None:
    model = TorchvisionDetector("ssdlite320_mobilenet_v3_large", 3)
    x, boxes = torch.rand(2, 3, 64, 64), torch.tensor([[[5.0, 5, 5, 9]], [[1, 1, 9, 9]]])
    labels = torch.tensor([[2], [1]])
    padding = torch.tensor([[False], [True]])
    assert torch.isfinite(model(x, boxes, labels, padding)["loss"])
    with pytest.raises(UserError, match="label 4 and the model has 3 classes"):
        model(x, boxes, labels + 2)
    with pytest.raises(UserError, match="label -1 and the model has 3 classes"):
        model(x, boxes, labels - 3, padding)
    with pytest.raises(UserError, match="a box ends before it begins"):
        model(x, boxes.flip(-1), labels, padding)
    with pytest.raises(UserError, match="the batch has none"):
        model(x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TorchvisionDetector("maskrcnn_resnet50_fpn", 3), "more than boxes"),
        (lambda: TorchvisionDetector("fcos_resnet5_fpn", 3), "Did you mean fcos_resnet50_fpn"),
        (lambda: TorchvisionDetector("ssd300_vgg16", 0), "num_classes is 0"),
        (lambda: TorchvisionSegmenter("lraspp", 3), "no segmentation network 'lraspp'"),
        (
            lambda: TorchvisionSegmenter("lraspp_mobilenet_v3_large", 3, auxiliary=True),
            "has no auxiliary output",
        ),
        (lambda: TorchvisionPyramid("mobilenet_v3_smal"), "Did you mean mobilenet_v3_small"),
        (lambda: TorchvisionPyramid("mobilenet_v3_small", taps=[64]), "has maps at"),
        (lambda: TorchvisionPyramid("squeezenet1_1"), "no even share of the picture's sides"),
        (lambda: TorchvisionPyramid("vit_b_16"), "gives no maps of several sizes"),
        (lambda: TorchvisionPyramid("resnet18", in_channels=0), "in_channels is 0"),
    ],
)
def test_what_does_not_fit_is_told(make: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make()
