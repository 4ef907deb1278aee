"""A detector through the whole path: files, padded boxes, loss, reading, mean average precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cvtrainer
from cvtrainer.core.errors import UserError
from cvtrainer.data.picture_world import write_picture_world

CONFIG = """
task: detection
model:
  type: base_model
  backbone: {type: edge_net, width: 0.25, depth: 0.5, taps: [8, 16]}
  adapter: {type: pan, out_channels: 16}
  head: {type: detector, num_classes: CLASSES, bins: 8}
criterion: detection_loss
optimizer: {type: AdamW, lr: 0.002}
dataloader:
  train:
    dataset: {type: picture_world, data_path: WORLD, fields: [boxes, box_labels]}
    tensorizer: &fields {type: tensorizer, mapping: {x: image, boxes: box, box_labels: index}}
    dataloader_args: {batch_size: 6}
  val:
    dataset: {type: picture_world, data_path: WORLD, split: val, fields: [boxes, box_labels]}
    tensorizer: *fields
meters: [loss, box_map]
epochs: 1
"""


def write(tmp_path: Path, classes: int) -> Path:
    world = write_picture_world(tmp_path / "world", train=18, val=6, size=48)
    file = tmp_path / "train.yaml"
    text = CONFIG.replace("CLASSES", str(classes)).replace("WORLD", str(world))
    file.write_text(text, encoding="utf-8")
    return file


def test_it_trains_and_is_measured(tmp_path: Path) -> None:
    result = cvtrainer.train(write(tmp_path, 6), run_dir=tmp_path / "run")
    metrics = result.metrics["train"]
    assert 0 <= metrics["val/map"] <= metrics["val/map_50"] <= 1
    assert "train/map" not in metrics, "training does not read boxes"
    assert metrics["train/loss_box"] > 0


def test_a_label_beyond_the_classes_ends_it_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"box_labels of .*class number \d"):
        cvtrainer.train(write(tmp_path, 3), run_dir=tmp_path / "run")


SPARSE = """
task: detection
model:
  type: base_model
  backbone: {type: edge_net, width: 0.25, depth: 0.5, taps: [8, 16]}
  adapter: {type: pan, out_channels: 16}
  head: {type: detector, num_classes: 1, bins: 8}
criterion: detection_loss
optimizer: {type: AdamW, lr: 0.002}
dataloader:
  train:
    dataset: {type: yolo, data_path: FOLDER, task: detection}
    tensorizer: &fields {type: tensorizer, mapping: {x: image, boxes: box, box_labels: index}}
    dataloader_args: {batch_size: 2, shuffle: false}
  val:
    dataset: {type: yolo, data_path: FOLDER, task: detection}
    tensorizer: *fields
    dataloader_args: {batch_size: 2}
meters: [loss, box_map]
epochs: 1
"""


def test_pictures_without_objects_are_trained_on_too(tmp_path: Path) -> None:
    """The first batch has no box at all, the second one in one of its pictures, a tiny one."""
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number in range(4):
        pixels = np.full((48, 48, 3), 40 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / "images" / f"{number}.png")
        line = "0 0.5 0.5 0.06 0.06\n" if number == 3 else ""
        (tmp_path / "set" / "labels" / f"{number}.txt").write_text(line)
    (tmp_path / "set" / "classes.txt").write_text("speck\n")
    file = tmp_path / "train.yaml"
    file.write_text(SPARSE.replace("FOLDER", str(tmp_path / "set")))
    result = cvtrainer.train(file, run_dir=tmp_path / "run")
    metrics = result.metrics["train"]
    assert np.isfinite(metrics["train/loss"])
    assert metrics["train/loss_box"] > 0, "the speck has no place that answers for it"
    assert metrics["val/map"] == metrics["val/map_small"]
