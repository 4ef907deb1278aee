"""Which checkpoint and which split are measured: the config names them, the call overrides it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import cvtrainer
from cvtrainer.cli import main
from tests.project import change, write_project


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An eval.yaml for the first of two epochs, beside the run that made them."""
    train = write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    change(train, hooks=["CheckpointHook"], logger=["console"])
    cvtrainer.train(train, overrides=["dir=run", "epochs=2"])
    (stage,) = yaml.safe_load(train.read_text())["stages"]
    kept = {key: stage[key] for key in ("model", "criterion", "dataloader", "meters")}
    kept |= {"checkpoint": "run/checkpoints/checkpoint_epoch_1.pth", "eval_split": "train"}
    path = train.with_name("eval.yaml")
    path.write_text(yaml.safe_dump(kept))
    return path


def logged(epoch: int) -> dict[str, float]:
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    (found,) = (one for one in lines if (one["phase"], one["epoch"]) == ("val", epoch))
    return {name: value for name, value in found.items() if name.startswith("val/")}


@pytest.mark.seed("S0-08", "S0-09")
def test_the_config_names_checkpoint_and_split_and_the_call_overrides_both(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logged(1) != logged(2)
    names = {"train/loss", "train/accuracy", "train/accuracy_top5"}
    assert cvtrainer.evaluate(config).keys() == names
    assert cvtrainer.evaluate(config, split="val") == logged(1)
    second = "run/checkpoints/checkpoint_epoch_2.pth"
    assert cvtrainer.evaluate(config, split="val", checkpoint=second) == logged(2)

    capsys.readouterr()
    assert main(["eval", str(config), "--split", "val", "--checkpoint", second]) == 0
    told = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert told == {name: f"{value:.4f}" for name, value in logged(2).items()}
