"""The tutorial on feature graphs: dialogues of unequal length, a class for every node."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.data.collate import Collate
from cvtrainer.experiment import Experiment
from tests.architecture.source_tree import ROOT

CONFIG = ROOT / "apps" / "feature_graph" / "train.yaml"
SHORT = [
    "epochs=3",
    "dataloader.train.dataset.count=160",
    "dataloader.val.dataset.count=80",
    "dataloader.train.dataloader_args.num_workers=0",
    "dataloader.val.dataloader_args.num_workers=0",
]


@pytest.mark.seed("S4-06")
def test_moods_are_learnt_from_padded_batches_with_the_help_of_neighbours(tmp_path: Path) -> None:
    reached = {}
    for messages in ("mean", "none"):
        words = [*SHORT, f"model.backbone.messages={messages}"]
        run = cvtrainer.train(CONFIG, overrides=words, run_dir=tmp_path / messages).run
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        reached[messages] = [one["val/accuracy"] for one in lines if one["phase"] == "val"][-1]
    assert reached["mean"] > 0.8
    assert reached["mean"] > reached["none"] + 0.05

    model = cvtrainer.load(tmp_path / "mean")
    nodes, edges = np.zeros((4, 32), np.float32), np.ones((4, 4), np.float32)
    (told,) = model.predict({"x": nodes, "edges": edges})
    assert [set(one) for one in told["places"]] == [{"class", "probability", "top"}] * 4


@pytest.mark.seed("S4-06")
def test_its_batches_say_what_is_padded() -> None:
    stage = compile_config(CONFIG, overrides=SHORT).resolved["stages"][0]
    experiment = Experiment(CONFIG)
    dataset = experiment.data.dataset(stage["dataloader"]["train"], "train")
    sizes = [len(dataset[number]["x"]) for number in range(20)]
    assert len(set(sizes)) > 3
    tensorizer = experiment.builder.build(stage["dataloader"]["train"]["tensorizer"])
    join = Collate(ragged=tensorizer.ragged, pad_values=tensorizer.pad_values)
    batch = join([tensorizer(dataset[number]) for number in range(6)])
    padding = batch["x_padding"]
    assert padding.sum(dim=1).tolist() == [max(sizes[:6]) - size for size in sizes[:6]]
    assert torch.equal(batch["target"]["class_id"] == -100, padding)
    assert batch["edges"].shape == (6, max(sizes[:6]), max(sizes[:6]))
