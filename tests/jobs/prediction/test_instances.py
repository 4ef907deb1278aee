"""Objects with masks, from training to predicted files: told, drawn, and in the file's pixels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import mask as runs
from PIL import Image

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError

CONFIG = """
project: shapes
name: instances
task: {type: instances, most: 10, candidates: 20, told_from: 0.02, masks: FORM}
model:
  type: base_model
  backbone: {type: edge_net, width: 0.25, depth: 0.5, taps: [4, 8]}
  adapter: {type: fpn, out_channels: 16}
  head: {type: instances, num_classes: 6, bins: 8, prototypes: 4}
criterion: {type: instance_loss, masks: 2.0, detection: {type: detection_loss, box: 5.0}}
optimizer: {type: AdamW, lr: 0.01}
dataloader:
  train:
    dataset: &world
      {type: picture_world, count: 24, size: 48, fields: [boxes, box_labels, masks]}
    tensorizer: &fields
      type: tensorizer
      mapping: {x: image, boxes: box, box_labels: index, masks: {type: mask, dtype: uint8}}
    dataloader_args: {batch_size: 6}
  val:
    dataset: {<<: *world, split: val, count: 7}
    transforms:
      - {type: LongestMaxSize, max_size: 60}
      - {type: PadIfNeeded, min_height: 61, min_width: 61}
    tensorizer: *fields
    dataloader_args: {batch_size: 3}
meters: [loss, box_map, mask_map, union_dice, count_error]
epochs: 4
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for form in ("runs", "polygons"):
        (tmp_path / f"{form}.yaml").write_text(CONFIG.replace("FORM", form), encoding="utf-8")
    pixels = np.full((80, 120, 3), 30, np.uint8)
    pixels[20:60, 40:90] = 220
    Image.fromarray(pixels).save("bright.png")
    return tmp_path


@pytest.mark.long
def test_from_training_to_drawn_masks(project: Path) -> None:
    result = cvtrainer.train("runs.yaml", run_dir="run")
    metrics = result.metrics["instances"]
    assert 0 <= metrics["val/mask_map"] <= metrics["val/mask_map_50"] <= 1
    assert metrics["val/count_error"] >= 0
    assert metrics["train/loss_masks"] > 0
    assert "train/mask_map" not in metrics, "training does not read masks"
    assert main(["predict", "--run", "run", "bright.png", "--out", "told", "--draw"]) == 0

    (line,) = Path("told/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    objects = json.loads(line)["objects"]
    assert objects, "four epochs are enough to be a little sure of something"
    for one in objects:
        mask = runs.decode(one["mask"])
        assert mask.shape == (80, 120), "the file's pixels, not the 61 x 61 of the input"
        assert int(mask.sum()) == one["area"]
        rows, columns = mask.nonzero()
        left, top, right, bottom = one["box"]
        if len(rows):
            assert columns.min() >= left - 2
            assert columns.max() <= right + 2
            assert rows.min() >= top - 2
            assert rows.max() <= bottom + 2
    table = Path("told/predictions.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["mask.counts"] for row in rows] == [one["mask"]["counts"] for one in objects]
    drawn = np.asarray(Image.open("told/pictures/bright.png"))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 2, "more than the two greys of the file"

    polygons = cvtrainer.load("run/checkpoints/last.pth", config="polygons.yaml")
    (told,) = polygons.predict("bright.png", tensors=True)
    assert told["outputs"]["found_masks"].shape == (len(told["objects"]), 80, 120)
    for one in told["objects"]:
        assert bool(one["polygons"]) == (one["area"] > 1)
        for points in one["polygons"]:
            assert min(points) >= 0
            assert max(points) <= 120


def test_masks_of_another_size_than_the_input_are_named(project: Path) -> None:
    text = (project / "runs.yaml").read_text(encoding="utf-8")
    cut = text.replace("boxes: box,", "boxes: box, mask: mask,").replace("[boxes,", "[mask, boxes,")
    bound = cut.replace("box: 5.0}}", "box: 5.0}, bind: {masks: mask}}")
    (project / "wrong.yaml").write_text(bound, encoding="utf-8")
    with pytest.raises(UserError, match="one mask per box"):
        cvtrainer.train("wrong.yaml", run_dir="run")
