"""Several heads with places over one backbone: trained, read, told, in a table, drawn, packaged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.jobs.prediction.inputs import Input
from cvtrainer.jobs.prediction.pictures import Pictures
from cvtrainer.jobs.prediction.predictor import Answer
from cvtrainer.jobs.prediction.writing import rows_of

CONFIG = """
project: shapes
name: many
task:
  type: several
  readings:
    things: {type: instances, most: 10, candidates: 20, told_from: 0.0, threshold: 0.0}
    shapes: {type: detection, most: 5, candidates: 20, told_from: 0.0, threshold: 0.0}
    areas: {type: segmentation}
    pose: {type: keypoints, stride: 4, names: [LEFT, TOP, RIGHT, BOTTOM]}
    kind: {type: classification, top: 1}
model:
  type: base_model
  backbone: {type: edge_net, width: 0.25, depth: 0.5, taps: [4, 8]}
  adapter: {type: fpn, out_channels: 8}
  head:
    things: {type: instances, num_classes: 6, bins: 4, prototypes: 2}
    shapes: {type: detector, num_classes: 6, bins: 4}
    areas: {type: mask, num_classes: 7}
    pose: {type: heatmap, keypoints: 4}
    kind: {type: multiclass, num_classes: 6}
criterion:
  things:
    type: instance_loss
    bind:
      scores: things_scores
      distances: things_distances
      anchors: things_anchors
      coefficients: things_coefficients
      prototypes: things_prototypes
      inside: things_inside
  shapes:
    type: detection_loss
    bind: {scores: shapes_scores, distances: shapes_distances, anchors: shapes_anchors}
  areas: {type: cross_entropy_loss, bind: {output: areas, target: mask}}
  kind: {type: cross_entropy_loss, bind: {output: kind, target: class_id}}
optimizer: {type: AdamW, lr: 0.01}
dataloader:
  train:
    dataset: &world
      type: picture_world
      count: 4
      size: 32
      fields: [boxes, box_labels, masks, mask, class_id]
    tensorizer: &fields
      type: tensorizer
      mapping:
        x: image
        boxes: box
        box_labels: index
        masks: {type: mask, dtype: uint8}
        mask: mask
        class_id: index
    dataloader_args: {batch_size: 2}
  val:
    dataset: {<<: *world, split: val, count: 2}
    tensorizer: *fields
    dataloader_args: {batch_size: 2}
meters:
  - loss
  - type: box_map
    prefix: shapes_
    bind:
      found_boxes: shapes_found_boxes
      found_scores: shapes_found_scores
      found_classes: shapes_found_classes
  - {type: mean_iou, bind: {output: areas, target: mask}}
epochs: 1
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("many.yaml").write_text(CONFIG, encoding="utf-8")
    Image.fromarray(np.full((40, 60, 3), 120, np.uint8)).save("grey.png")
    return tmp_path


def test_from_one_backbone_to_a_table_and_a_picture(place: Path) -> None:
    metrics = cvtrainer.train("many.yaml", run_dir="run").metrics["many"]
    assert 0 <= metrics["val/shapes_map"] <= 1
    assert 0 <= metrics["val/miou"] <= 1
    assert metrics["val/loss_kind"] > 0
    assert main(["predict", "--run", "run", "grey.png", "--out", "told", "--draw"]) == 0
    told = json.loads(Path("told/predictions.jsonl").read_text(encoding="utf-8"))
    assert list(told) == ["file", "things", "shapes", "areas", "pose", "kind"]
    things, shapes = told["things"]["objects"], told["shapes"]["objects"]
    assert things
    assert shapes
    assert {"class", "score", "box", "area", "mask"} == set(things[0])
    rows = list(csv.DictReader(Path("told/predictions.csv").read_text().splitlines()))
    assert len(rows) == len(things) + len(shapes)
    for row, one in zip(rows, [*things, *shapes], strict=True):
        own, other = ("things", "shapes") if "mask" in one else ("shapes", "things")
        assert float(row[f"{own}.score"]) == one["score"]
        assert [float(row[f"{own}.{edge}"]) for edge in ("x1", "y1", "x2", "y2")] == one["box"]
        assert row[f"{other}.score"] == row[f"{other}.x1"] == ""
        assert float(row["pose.keypoints.TOP.x"]) == told["pose"]["keypoints"]["TOP"]["x"]
        assert row["kind.class"] == told["kind"]["class"]
    (drawn,) = Path("told/pictures").iterdir()
    with Image.open(drawn) as shown:
        below = np.asarray(shown)[shown.height * 2 // 3 :]
        assert len(np.unique(below.reshape(-1, 3), axis=0)) > 5, "its captions stand above"


def answer(told: dict[str, Any], **more: Any) -> Answer:
    return Answer(Input("a.png", None), told, **more)


@pytest.mark.parametrize("name", ["things", "objects", "keypoints"])
def test_readings_are_drawn_and_written_as_alone(name: str, tmp_path: Path) -> None:
    """Whatever they are called, also when another's name begins with theirs."""
    box, point = [4.0, 5.0, 30.0, 31.0], {"tip": {"x": 3.0, "y": 4.0, "score": 0.5}}
    objects = [{"class": "cat", "score": 0.5, "box": box}]
    masks = np.zeros((3, 40, 40), bool)
    masks[0, 8:20, 8:20] = True
    masks[1:] = True
    alone = answer(
        {"objects": objects, "keypoints": point},
        outputs={"found_masks": masks},
        places={"found_masks": "masks"},
    )
    several = answer(
        {f"{name}_2": {"objects": []}, name: {"objects": objects, "keypoints": point}},
        outputs={f"{name}_2_found_masks": ~masks, f"{name}_found_masks": masks},
        places={f"{name}_2_found_masks": "masks", f"{name}_found_masks": "masks"},
        below=((f"{name}_2",), (name,)),
    )
    pixels = np.full((40, 40, 3), 90, np.uint8)
    drawn = []
    for number, one in enumerate((alone, several)):
        with Image.open(Pictures(tmp_path / str(number), ["cat"]).draw(one, pixels)) as shown:
            drawn.append(np.asarray(shown))
    np.testing.assert_array_equal(*drawn)
    assert (drawn[0] != 90).any()
    (row,) = rows_of("a.png", several.told, several.below)
    assert row == {
        "file": "a.png",
        f"{name}.keypoints.tip.x": 3.0,
        f"{name}.keypoints.tip.y": 4.0,
        f"{name}.keypoints.tip.score": 0.5,
        f"{name}.class": "cat",
        f"{name}.score": 0.5,
        **{
            f"{name}.{edge}": value
            for edge, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)
        },
    }
