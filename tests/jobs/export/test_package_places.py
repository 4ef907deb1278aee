"""Places that a package tells are those of its run, in the pixels of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cvtrainer
from cvtrainer.cli import main

pytestmark = pytest.mark.long

CONFIG = """
task: TASK
model:
  type: base_model
  backbone: {type: edge_net, width: 0.25, depth: 0.5, taps: [4, 8]}
  adapter: {type: fpn, out_channels: 16}
  head: HEAD
criterion: LOSS
optimizer: {type: AdamW, lr: 0.01}
dataloader:
  train:
    dataset: &world
      {type: picture_world, count: 24, size: 48, fields: FIELDS}
    tensorizer: &fields {type: tensorizer, mapping: MAPPING}
    dataloader_args: {batch_size: 6}
  val:
    dataset: {<<: *world, split: val, count: 7}
    transforms:
      - {type: LongestMaxSize, max_size: 60}
      - {type: PadIfNeeded, min_height: 64, min_width: 64}
    tensorizer: *fields
    dataloader_args: {batch_size: 3}
meters: [loss]
epochs: 3
"""

KINDS = {
    "instances": {
        "TASK": "{type: instances, most: 10, candidates: 20, told_from: 0.02, masks: polygons}",
        "HEAD": "{type: instances, num_classes: 6, bins: 8, prototypes: 4}",
        "LOSS": "instance_loss",
        "FIELDS": "[boxes, box_labels, masks]",
        "MAPPING": "{x: image, boxes: box, box_labels: index, masks: {type: mask, dtype: uint8}}",
    },
    "segmentation": {
        "TASK": "segmentation",
        "HEAD": "{type: mask, num_classes: 7}",
        "LOSS": "cross_entropy_loss",
        "FIELDS": "[mask]",
        "MAPPING": "{x: image, mask: {type: mask, num_classes: 7}}",
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = CONFIG
    for word, value in KINDS[kind].items():
        text = text.replace(word, value)
    Path("train.yaml").write_text(text, encoding="utf-8")
    pixels = np.full((80, 120, 3), 30, np.uint8)
    pixels[20:60, 40:90] = (220, 40, 90)
    Image.fromarray(pixels).save("bright.png")
    Image.fromarray(pixels.swapaxes(0, 1)).save("upright.png")
    cvtrainer.train("train.yaml", run_dir="run")
    assert main(["export", "run", "--package", "--max_drop", "1"]) == 0
    given = ["bright.png", "upright.png"]
    trained = cvtrainer.load("run").predict(given, tensors=True)
    told = "objects" if kind == "instances" else "shares"
    assert all(one[told] for one in trained), "something is told that can be compared"
    package = cvtrainer.load("run/artifacts/model.cvt", artefact=None)
    for ours, theirs in zip(package.predict(given, arrays=True), trained, strict=True):
        same(ours, theirs)


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """All that is told; maps but for single places on a border."""
    mine, tensors = ours.pop("outputs"), theirs.pop("outputs")
    for name, value in tensors.items():
        if name in ("class_map", "found_masks"):
            assert mine[name].shape == tuple(value.shape)
            assert (torch.from_numpy(mine[name]) != value).float().mean() < 0.005
    assert ours.keys() == theirs.keys()
    objects = zip(ours.pop("objects", []), theirs.pop("objects", []), strict=True)
    for one, other in objects:
        assert one["class"] == other["class"]
        assert one["box"] == pytest.approx(other["box"], abs=0.05)
        assert one["area"] == pytest.approx(other["area"], rel=0.05, abs=3)
        assert len(one["polygons"]) == len(other["polygons"])
    shares = theirs.pop("shares", {})
    assert ours.pop("shares", {}) == pytest.approx(shares, abs=0.005)
    assert ours == theirs
