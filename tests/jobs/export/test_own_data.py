"""Data sets of one's own, which know nothing of what an export asks of the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.deploy.contract import read_contract
from cvtrainer.jobs.export.stratified import stratified
from tests.project import change, enter_project

pytest.importorskip("onnxruntime")
pytest.importorskip("torchao")

DATA = '''
import numpy as np
import torch


class Marked:
    """Pictures with numbers of their own, and rows of labels where others have one class each."""

    def __init__(self, count: int = 11, seed: int = 0):
        draw = np.random.default_rng(seed)
        self.pictures = draw.integers(0, 255, (count, 12, 12, 3), dtype=np.uint8)
        self.classes_of = np.arange(count) % 3
        self.labels = np.eye(3, dtype=int)[self.classes_of]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, number):
        target = {"class_id": int(self.classes_of[number])}
        own = (number * 5 + 3) % len(self)
        return {"x": self.pictures[number], "target": target, "meta": {"index": own}}


def nameless(samples):
    target = torch.stack([one["target"]["class_id"] for one in samples])
    return {"x": torch.stack([one["x"] for one in samples]), "target": {"class_id": target}}
'''


HEADS = """
from torch import nn


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.kind, self.other = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x):
        features = self.body(x)
        return {"output": self.kind(features), "other": self.other(features)}
"""


def splits(**words: object) -> dict[str, object]:
    mapping = {"x": {"type": "image", "kwargs": {"normalize": "imagenet"}}, "class_id": "index"}
    tensorizer = {"type": "tensorizer", "mapping": mapping}
    return {
        split: {
            "dataset": {"type": "apps.toy.data.Marked", "kwargs": {"seed": seed}},
            "tensorizer": tensorizer,
            "dataloader_args": {"batch_size": 4, **more},
        }
        for seed, (split, more) in enumerate({"train": {}, "val": words}.items())
    }


@pytest.mark.long
def test_numbers_labels_and_batches_of_ones_own_are_no_lie_in_a_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch, data=DATA)
    change(config, dataloader=splits(drop_last=True), epochs=1, hooks=["checkpoint"])
    run = cvtrainer.train(config, overrides=["dir=run"]).run
    words = ["--int8", "--no-ladder", "--max_drop", "1", "--sample", "50"]
    assert main(["export", str(run), *words]) == 0
    assert read_contract(run / "artifacts" / "model-int8.onnx").made["sample"] == 11
    assert "proven on 8 of 11 samples" in capsys.readouterr().out
    proof = read_contract(run / "artifacts" / "model-fp32.onnx").proof
    assert (proof["agreement"], proof["samples"], proof["of"]) == (1.0, 8, 11)
    assert proof["largest_difference"]["output"] < 1e-4

    change(config, dataloader=splits(collate_fn="apps.toy.data.nameless"))
    artefact = str(run / "artifacts" / "model-fp32.onnx")
    assert main(["eval", str(config), "--artifact", artefact]) == 2
    assert "collate_fn: batches do not say which samples they hold" in capsys.readouterr().err


@pytest.mark.long
def test_a_head_that_nobody_reads_is_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch, data=DATA, heads=HEADS)
    bind = {"output": "output", "target": "class_id"}
    meters = [{"type": "accuracy", "bind": bind}]
    loss = {"type": "CrossEntropyLoss", "bind": bind}
    words = {"model": "apps.toy.heads.TwoHeads", "model_args": {}, "criterion": loss}
    change(config, dataloader=splits(), epochs=1, hooks=["checkpoint"], meters=meters, **words)
    run = cvtrainer.train(config, overrides=["dir=run"]).run
    assert main(["export", str(run)]) == 0
    assert "neither the task nor a meter reads other, so" in capsys.readouterr().err
    assert main(["export", str(run), "--decode", "host"]) == 0
    assert "neither the task nor a meter" not in capsys.readouterr().err
    ports = read_contract(run / "artifacts" / "model-fp32.onnx").outputs
    assert [port.name for port in ports] == ["output", "other"]


@pytest.mark.parametrize(
    "labels", [[[0, 1]] * 9, [[0], [1, 2], []] * 3, [0, 1], [{"a": 1}] * 9, [None, 1, "b"] * 3]
)
def test_labels_that_are_not_one_class_each_say_nothing_of_proportions(labels: object) -> None:
    assert stratified(labels, 9, 4).tolist() == stratified(None, 9, 4).tolist()  # type: ignore[arg-type]
