"""A detector through the whole path: files, padded boxes, loss, reading, mean average precision."""

from __future__ import annotations

from pathlib import Path

import pytest

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
