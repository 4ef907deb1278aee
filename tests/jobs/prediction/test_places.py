"""Boxes, points and maps come back in the pixels of the file, whatever evaluation did to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cvtrainer
from cvtrainer.cli import main

SPOTS = '''
"""A network that sees one bright spot, and what its outputs mean."""

import torch
from torch import nn


class Sees(nn.Module):
    def __init__(self):
        super().__init__()
        self.unit = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.unit.weight, 1 / 3)

    def forward(self, x):
        return {"bright": self.unit(x)[:, 0]}


class Spot:
    IN_PICTURE = {"found": "boxes", "middle": "points", "inside": "map", "each": "masks"}

    def decode(self, outputs):
        inside = (outputs["bright"] > 0.5).long()
        boxes = []
        for one in inside:
            rows, columns = one.nonzero().T
            edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            boxes.append(torch.stack(edges).float())
        boxes = torch.stack(boxes)[:, None]
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        each = inside[:, None].bool()
        return {"found": boxes, "middle": middle, "inside": inside, "each": each}

    def describe(self, outputs, place, classes):
        box = outputs["found"][place, 0].tolist()
        x, y = outputs["middle"][place, 0].tolist()
        area = int((outputs["inside"][place] == 1).sum())
        objects = [{"class": "spot", "score": 0.5, "box": box}]
        return {"objects": objects, "keypoints": {"m": {"x": x, "y": y}}, "area": area}


class Shrunk:
    def __call__(self, sample):
        return {**sample, "x": sample["x"][::2, ::2]}
'''

CONFIG = """
task: {type: spots.py:Spot}
model: spots.py:Sees
criterion: MSELoss
optimizer: SGD
dataloader:
  val:
    dataset: {data_path: never/opened}
    transforms:
      backend: Albumentations
      transforms: TRANSFORMS
    tensorizer: {type: tensorizer, mapping: {x: {type: image, normalize: null}}}
"""

BOX = (40, 20, 60, 35)
"""In a picture of 120 x 80."""

TRANSFORMS = {
    "letterbox": [{"type": "LongestMaxSize", "max_size": 96}, {"type": "PadIfNeeded"}],
    "resize": [{"type": "Resize", "height": 64, "width": 64}],
    "crop": [{"type": "Resize", "size": 64}, {"type": "CenterCrop", "height": 56, "width": 80}],
    "flip": [{"type": "HorizontalFlip", "p": 1.0}],
    "own": [{"type": "spots.py:Shrunk"}],
}
TRANSFORMS["letterbox"][1] |= {"min_height": 96, "min_width": 96}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spots.py").write_text(SPOTS, encoding="utf-8")
    pixels = np.full((80, 120, 3), 20, np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 250
    Image.fromarray(pixels).save("spot.png")
    Image.fromarray(np.pad(pixels, ((8, 0), (40, 0), (0, 0)))).save("moved.png")
    torch.save({"unit.weight": torch.full((1, 3, 1, 1), 1 / 3)}, "weights.pt")
    return tmp_path


def config(name: str) -> str:
    file = Path(f"{name}.yaml")
    file.write_text(CONFIG.replace("TRANSFORMS", json.dumps(TRANSFORMS[name])), encoding="utf-8")
    return str(file)


def near(found: Any, expected: Any, within: float) -> bool:
    return bool(np.abs(np.asarray(found) - np.asarray(expected)).max() <= within)


@pytest.mark.parametrize("name", ["letterbox", "resize", "crop", "flip"])
def test_places_are_those_of_the_file(project: Path, name: str) -> None:
    model = cvtrainer.load("weights.pt", config=config(name))
    one, moved = model.predict(["spot.png", "moved.png"], tensors=True)
    assert near(one["objects"][0]["box"], BOX, 2)
    shift = np.array([40, 8, 40, 8])
    assert near(moved["objects"][0]["box"], np.array(BOX) + shift, 2.5)
    point = one["keypoints"]["m"]
    assert near([point["x"], point["y"]], [50, 27.5], 2)
    for tensor in (one["outputs"]["inside"], one["outputs"]["each"][0]):
        assert tensor.shape == (80, 120)
        assert tensor[22:33, 42:58].all()
        assert (tensor == 1).sum() == one["area"]
    assert one["area"] == pytest.approx(20 * 15, rel=0.2)
    assert moved["outputs"]["inside"].shape == (88, 160)


def test_what_has_no_way_back_is_said_once(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--config", config("own"), "--checkpoint", "weights.pt"]
    assert main([*words, "spot.png", "spot.png", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    first, _ = (json.loads(line) for line in said.out.splitlines())
    assert near(first["objects"][0]["box"], np.array(BOX) / 2, 1)
    assert said.err.count("leaves keypoints where they were") == 1


def test_boxes_and_regions_are_drawn_where_they_are(project: Path) -> None:
    words = ["predict", "--config", config("letterbox"), "--checkpoint", "weights.pt"]
    assert main([*words, "spot.png", "--out", "told", "--draw", "--device", "cpu"]) == 0
    drawn = np.asarray(Image.open("told/pictures/spot.png")).astype(int)
    share = drawn.shape[1] // 120
    picture = drawn[drawn.shape[0] - 80 * share :]
    grey = np.ptp(picture, axis=2) < 25
    inside = (slice(BOX[1] * share, BOX[3] * share), slice(BOX[0] * share, BOX[2] * share))
    assert grey[inside].mean() < 0.3, "the region is coloured"
    table = Path("told/predictions.csv").read_text().splitlines()
    assert table[0] == "file,keypoints.m.x,keypoints.m.y,area,class,score,x1,y1,x2,y2"
    assert table[1].startswith("spot.png,50")


def test_tensors_that_are_ready_keep_the_places_of_the_input(project: Path) -> None:
    model = cvtrainer.load("weights.pt", config=config("letterbox"))
    ready = torch.zeros(3, 40, 40)
    ready[:, 10:20, 5:25] = 1
    (one,) = model.predict(ready)
    assert one["objects"][0]["box"] == [5, 10, 25, 20]
