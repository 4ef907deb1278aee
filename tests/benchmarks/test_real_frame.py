"""The frame of the real-data scripts: what is trained and scored, what the table says, lists."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from benchmarks.real import frame
from benchmarks.real.frame import SPLITS, Goal, Outcome, Study, main
from cvtrainer.core.compile import compile_config

CONFIG = """
vars: {data: null, note: unset}
project: "${vars.note}"
seed: 0
device: cpu
stages:
- name: train
  epochs: 5
  model: {type: base_model, backbone: {type: small_cnn, width: 4, in_channels: 1, depth: 2},
          head: {type: multiclass, num_classes: 10}}
  criterion: CrossEntropyLoss
  optimizer: {type: AdamW, lr: 0.01}
  dataloader:
    train: &digits
      dataset: {type: digits, split: train, size: 8, color: grey}
      tensorizer: {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
      dataloader_args: {batch_size: 64, shuffle: true}
    val: {<<: *digits, dataset: {type: digits, split: val, size: 8, color: grey}}
    test: {<<: *digits, dataset: {type: digits, split: val, size: 8, color: grey}}
  hooks: [{type: checkpoint, save_freq: 0, save_best: true, metric_name: val_accuracy}]
  meters: [loss, accuracy]
"""


@dataclass(frozen=True)
class Small(Study):
    """A study whose config lies elsewhere."""

    file: Path = Path()

    @property
    def config(self) -> Path:
        return self.file


@pytest.mark.long
def test_each_seed_is_trained_and_its_best_is_scored_on_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    goals = (Goal("test/accuracy", 0.15), Goal("test/loss", 2.2, higher=False))
    study = Small("small", "set", goals, file=file)
    words = ["--data", str(tmp_path), "--epochs", "2", "--keep", str(tmp_path / "runs")]
    out = tmp_path / "out.json"
    code = main(study, ["vars.note=told", *words, "--out", str(out), "--seeds", "3"])
    (found,) = json.loads(out.read_text())
    assert code == int(not all(goal.reached(found["scores"][goal.metric]) for goal in goals))
    assert found["who"] == "cvtrainer"
    assert found["seed"] == 3
    assert found["parameters"] == 36 + 8 + 288 + 16 + 90
    assert found["cpu_s"] > 0
    run = tmp_path / "runs" / "small_3"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [one["val/loss"] for one in lines if "val/loss" in one]
    assert len(losses) == 2
    assert found["scores"]["test/loss"] == pytest.approx(min(losses), rel=1e-4)
    config = (run / "config.yaml").read_text()
    assert "project: told" in config
    assert "cvtrainer, seed 3: test/accuracy" in capsys.readouterr().out


def test_the_table_has_means_deviations_and_bars() -> None:
    study = Study("s", "set", (Goal("test/a", 0.9), Goal("test/e", 4, higher=False)))
    ours = [
        Outcome("cvtrainer", k, {"test/a": 0.9 + 0.02 * k, "test/e": 3.0}, 60, 50, 1234)
        for k in (0, 1)
    ]
    peer = Outcome("peer 1.0", 0, {"test/a": 0.5, "test/e": 5.0}, 80.4, 70, 99)
    rows = [line.split("  ") for line in frame.summary(study, [*ours, peer]).splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["who", "seeds", "test/a", "test/e", "wall s", "CPU s", "parameters"]
    assert cells[2] == ["cvtrainer", "2", "0.9100 ± 0.0141", "3.0000 ± 0.0000", "60", "50", "1,234"]
    assert cells[3] == ["peer 1.0", "1", "0.5000", "5.0000", "80", "70", "99"]
    assert cells[4] == ["bar", ">= 0.9", "<= 4"]
    assert not study.goals[1].reached(4.1)
    assert study.goals[1].reached(4.0)
    assert study.goals[0].reached(0.9)


@pytest.mark.parametrize("config", sorted(frame.HERE.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_whole_and_has_a_test_part(config: Path) -> None:
    stage = compile_config(config).resolved["stages"][-1]
    assert {"train", "val", "test"} <= set(stage["dataloader"])


def test_parts_are_apart_and_keep_the_share_of_each_class() -> None:
    parts = {
        part: (SPLITS / f"sign_digits_{part}.txt").read_text().split()
        for part in ("train", "val", "test")
    }
    every = [name for names in parts.values() for name in names]
    assert len(every) == len(set(every)) == 2062
    for part, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        counts = Counter(name.split("/")[0] for name in parts[part])
        assert len(counts) == 10
        assert all(abs(count - share * 206) <= 2 for count in counts.values())
    rows = [int(row) for row in (SPLITS / "fashion_mnist_val.txt").read_text().split()]
    assert len(set(rows)) == 5000
    assert min(rows) >= 0
    assert max(rows) < 60_000


def test_what_was_measured_before_joins_and_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = (Goal("test/a", 0.9),)
    before = [Outcome(who, 4, {"test/a": 0.95}, 10, 8, 100) for who in ("cvtrainer", "peer")]
    file = tmp_path / "before.json"
    file.write_text(json.dumps([asdict(one) for one in before]))
    words = ["--data", str(tmp_path), "--seeds", "4", "--join", str(file)]
    assert main(Small("small", "set", goals, file=tmp_path / "missing.yaml"), words) == 0
    told = capsys.readouterr().out
    assert "peer  " in told
    assert "cvtrainer  " in told
