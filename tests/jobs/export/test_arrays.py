"""Runs whose input is no pictures become artefacts that take arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import BadSample
from cvtrainer.deploy.contract import read_contract
from cvtrainer.jobs.export.array_feed import ArrayFeed
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.load import open_trained

pytestmark = pytest.mark.long

SERIES = '''
"""Waves that swing slowly or quickly, of several lengths."""

import numpy as np


class Waves:
    def __init__(self, split, count, more=False):
        self.classes = {"slow": 0, "quick": 1}
        self.labels = [k % 2 for k in range(count)]
        self.more = more
        self.split = split

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, k):
        label = self.labels[k]
        time = np.arange(9 + k % 5, dtype=np.float32)[:, None]
        wave = np.sin(time * (0.4 + label) + [k, k + 1]).astype(np.float32)
        meta = {"index": k, "path": f"{self.split} {k}"}
        more = {"categories": [k % 3]} if self.more else {}
        return {"x": wave, **more, "target": {"class_id": label}, "meta": meta}
'''


def config(folder: Path, monkeypatch: pytest.MonkeyPatch, **stage: object) -> Path:
    """A project of series, and where its config is."""
    (folder / "apps" / "waves").mkdir(parents=True)
    (folder / "apps" / "waves" / "data.py").write_text(SERIES)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    mapping = {"x": {"type": "sequence", "channels": 2}, "class_id": "index"}
    splits = {
        name: {
            "dataset": {"type": "apps/waves/data.py:Waves", "split": name, "count": count},
            "tensorizer": {"type": "tensorizer", "mapping": mapping},
            "dataloader_args": {"batch_size": 6, "num_workers": 0},
        }
        for name, count in (("train", 24), ("val", 15))
    }
    whole = {
        "name": "train",
        "epochs": 2,
        "task": "classification",
        "model": {
            "type": "sequence_model",
            "backbone": {"type": "series_net", "in_channels": 2, "width": 4, "depth": 1},
            "head": {"type": "multiclass", "num_classes": 2},
        },
        "criterion": "CrossEntropyLoss",
        "optimizer": {"type": "AdamW", "lr": 0.01},
        "dataloader": splits,
        "meters": ["accuracy"],
        **stage,
    }
    path = folder / "apps" / "waves" / "train.yaml"
    path.write_text(yaml.safe_dump({"project": "waves", "name": "w", "seed": 0, "stages": [whole]}))
    return path


def test_series_of_several_lengths_are_proven_gated_and_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy = {"target": "onnx", "precision": "fp32", "max_drop": 1.0, "every": "2ep"}
    hooks = [{"type": "checkpoint", "metric_name": "val_accuracy"}]
    made = config(tmp_path, monkeypatch, deploy=deploy, hooks=hooks)
    run = cvtrainer.train(made, overrides=["dir=run"]).run
    assert read_contract(run / "artifacts" / "best" / "model-fp32.onnx").takes == "arrays"

    words = ["--precision", "fp32,int8", "--sample", "9", "--max_drop", "1", "--package"]
    assert main(["export", str(run), *words]) == 0
    assert capsys.readouterr().out.count("proven on 15 samples, from arrays: ") == 2
    contract = read_contract(run / "artifacts" / "model-fp32.onnx")
    assert contract.input.shape == (None, None, 2)
    assert contract.proof["agreement"] == 1.0
    assert contract.proof["fed"] == "from arrays"
    assert isinstance(contract.spec, ArraySpec)
    assert contract.spec.unpadded == (0,)
    assert "lies outside of it: in the run's config, the tensorizer sequence" in contract.spec.words

    model = cvtrainer.load(run / "artifacts" / "model.cvt", artefact="fp32")
    long, short = (np.random.default_rng(k).normal(size=(9 + k, 2)) for k in (0, 30))
    np.save("one.npy", long)
    told = model.predict(["one.npy", short.astype(np.float32), np.stack([long, long])])
    network = open_trained(run).network
    with torch.no_grad():
        mine = [network(torch.tensor(one).float()[None]).argmax() for one in (long, short)]
    assert [one["class_id"] for one in told] == [mine[0], mine[1], mine[0], mine[0]]
    with pytest.raises(BadSample, match=r"takes \[any, 2\], and this is \[3\]"):
        model.predict(np.zeros(3))
    with pytest.raises(BadSample, match=r"takes arrays .* which the tensorizer sequence"):
        model.predict(str(made))

    package = str(run / "artifacts" / "model.cvt")
    assert main(["predict", package, "one.npy", "--draw", "--out", "told"]) == 2
    assert "this model takes no pictures" in capsys.readouterr().err
    assert main(["export", str(run), "--input", "uint8"]) == 2
    assert "only pictures can come as bytes" in capsys.readouterr().err
    assert main(["export", str(run), "--target", "tensorrt"]) == 2
    assert "tensorrt takes inputs of one length, and those of" in capsys.readouterr().err
    assert main(["eval", "--artifact", package, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"] == 1.0


def test_what_fills_a_batch_is_cut_off_only_where_the_network_looks_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cvtrainer.train(config(tmp_path, monkeypatch), overrides=["dir=run", "epochs=1"]).run
    trained = open_trained(run)
    validation = Validation.of(trained)
    feed = ArrayFeed(ArraySpec()).fitted(trained, validation)
    rows = feed.rows(validation, validation.first("cpu"), "arrays")
    assert [len(row) for row in rows] == [9, 10, 11, 12, 13, 9]
    assert feed.free == (1,)
    assert [len(one) for one in feed.sample(trained, 7, "arrays")] != [7]
    validation.close()
    other = open_trained(run)
    forward = other.network.forward

    def deaf(x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = forward(x)
        return made

    other.task._signature = deaf
    validation = Validation.of(other)
    padded = ArrayFeed(ArraySpec()).fitted(other, validation)
    rows = padded.rows(validation, validation.first("cpu"), "arrays")
    assert [len(row) for row in rows] == [13] * 6
    validation.close()


def test_a_network_with_several_inputs_is_refused_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {
        "type": "table_model",
        "backbone": {"type": "table_net", "numbers": 2, "categories": [4], "width": 4},
        "head": {"type": "multiclass", "num_classes": 2},
    }
    made = config(tmp_path, monkeypatch, model=model)
    told = yaml.safe_load(made.read_text())
    for split in told["stages"][0]["dataloader"].values():
        split["dataset"]["more"] = True
        split["tensorizer"]["mapping"]["x"] = {"type": "apps/waves/data2.py:First"}
        split["tensorizer"]["mapping"]["categories"] = {"type": "apps/waves/data2.py:Whole"}
    made.write_text(yaml.safe_dump(told))
    (made.parent / "data2.py").write_text(
        "import torch\n\n\nclass First:\n    def __call__(self, value):\n"
        "        return torch.tensor(value[0])\n\n\nclass Whole:\n"
        "    def __call__(self, value):\n        return torch.tensor(value)\n"
    )
    run = cvtrainer.train(made, overrides=["dir=run", "epochs=1"]).run
    assert main(["export", str(run)]) == 2
    told = capsys.readouterr().err
    assert "the network takes x and categories, and an artefact has one input" in told
