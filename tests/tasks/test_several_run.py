"""Several heads at once, from the config to the told answer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import cvtrainer
from cvtrainer.core.errors import ConfigErrors
from tests.architecture.source_tree import ROOT

CONFIG = ROOT / "apps" / "picture_many" / "train.yaml"
SHORT = [
    "epochs=1",
    "dataloader.train.dataset.count=32",
    "dataloader.val.dataset.count=12",
    "dataloader.train.dataloader_args.num_workers=0",
    "dataloader.val.dataloader_args.num_workers=0",
]


def test_each_head_has_its_loss_its_metrics_and_its_answer(tmp_path: Path) -> None:
    run = cvtrainer.train(CONFIG, overrides=SHORT, run_dir=tmp_path / "run").run
    lines = (run / "metrics.jsonl").read_text().splitlines()
    last = [one for one in map(json.loads, lines) if one["phase"] == "val"][-1]
    parts = {name: last[f"val/loss_{name}"] for name in ("kind", "present", "count")}
    whole = parts["kind"] + 2.0 * parts["present"] + 0.5 * parts["count"]
    assert math.isclose(last["val/loss"], whole, rel_tol=1e-5)
    assert {"val/kind_accuracy", "val/count_mae"} <= set(last)
    assert 0 <= last["val/kind_accuracy"] <= 1

    model = cvtrainer.load(run)
    (told,) = model.predict(np.zeros((64, 64, 3), np.uint8))
    assert told["kind"]["class"] in (model.classes or ())
    assert set(told) == {"file", "kind", "present", "count"}
    assert isinstance(told["count"]["value"], float)
    assert isinstance(told["present"]["classes"], list)


def test_a_metric_is_known_by_its_prefix(tmp_path: Path) -> None:
    wrong = [*SHORT, "hooks.checkpoint.metric_name=val_accuracy"]
    with pytest.raises(ConfigErrors, match=r"no meter gives 'val_accuracy'"):
        cvtrainer.train(CONFIG, overrides=wrong, run_dir=tmp_path / "run")
