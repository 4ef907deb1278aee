"""A stage that is judged by its artefacts: the best one is kept, and training does not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import change, enter_project, write_project
from tests.project import cvtrainer as in_another_process
from tests.trainer.test_state import assert_same, without_identity

pytest.importorskip("onnxruntime")
pytest.importorskip("torchao")

GATE = {"precision": "fp32", "max_drop": 0.5, "sample": 9}

KILLER = '''
import os
import signal
from pathlib import Path

from cvtrainer.engine.points import Rank
from cvtrainer.hooks.base import BaseHook


class Killer(BaseHook):
    """Kills its process when the first best checkpoint is whole, and in the second evaluation."""

    rank = Rank.UPDATE

    def after_train(self, stage):
        Path("reached").touch()

    def after_eval(self, stage):
        if stage.epoch == 2:
            self.here("evaluated")

    def after_save(self, stage):
        if stage["checkpoint_path"].name == "best_model.pth":
            self.here("whole")

    def here(self, moment):
        path = Path(f"killed_{moment}")
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class LateKiller(Killer):
    rank = Rank.SAVE
'''


def deploy_lines(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["phase"] == "deploy"]


@pytest.mark.long
def test_the_best_artefact_and_its_checkpoint_are_kept_and_training_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    plain = cvtrainer.train(config, overrides=["dir=plain", "epochs=2"]).run
    change(config, deploy={**GATE, "precision": "int8", "subset": 6})
    gated = cvtrainer.train(config, overrides=["dir=gated", "epochs=2"]).run

    ends = [read_checkpoint(run / "checkpoints/checkpoint_epoch_2.pth") for run in (plain, gated)]
    for part in ("networks", "optimizers", "random", "clock", "meters"):
        assert_same(ends[0][part], ends[1][part])
    assert_same(ends[0]["hooks"]["ema"], ends[1]["hooks"]["ema"])

    best = gated / "artifacts" / "best" / "model-int8.onnx"
    contract = read_contract(best)
    lines = deploy_lines(gated)
    assert [line["step"] for line in lines] == [5, 10]
    values = [line["deploy/accuracy"] for line in lines]
    chosen = values.index(max(values))
    assert [line["deploy/best"] for line in lines][chosen] == 1.0
    assert contract.proof["gate"]["epoch"] == chosen + 1
    assert contract.proof["proven"] is True
    assert (contract.proof["samples"], contract.proof["of"]) == (6, 9)
    assert "deploy: onnx int8 on 6 of 9 samples, " in capsys.readouterr().out
    kept = read_checkpoint(gated / "checkpoints" / "best_model.pth")
    assert kept["clock"]["epoch"] == chosen + 1
    assert kept["metrics"]["deploy/accuracy"] == max(values)

    # what the export makes of the kept checkpoint (its average) is the very file
    words = ["--precision", "int8", "--sample", "9", "--max_drop", "0.5", "--no-ladder"]
    assert main(["export", str(gated), *words, "--out", "again"]) == 0
    assert Path("again/model-int8.onnx").read_bytes() == best.read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("behind", [False, True], ids=["waiting", "behind"])
def test_killed_around_the_best_artefact_and_resumed_equals_unbroken(
    tmp_path: Path, behind: bool
) -> None:
    """A file that is written behind training's back may be whole before or after the other kill."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
        config = write_project(root)
        (config.parent / "killer.py").write_text(KILLER)
        hooks = [
            {"name": "early", "type": "apps.toy.killer.Killer"},
            {"name": "late", "type": "apps.toy.killer.LateKiller"},
            {"type": "CheckpointHook", "kwargs": {"save_freq": 1, "asynchronous": behind}},
        ]
        change(config, deploy=GATE, hooks=hooks)
    for moment in ("evaluated", "whole"):
        (whole / f"killed_{moment}").touch()
    words = ("train", "--resume", "auto", "--config", "apps/toy/train.yaml", "dir=run")
    assert in_another_process(*words, cwd=whole).returncode == 0
    runs = 0
    while not (broken / "reached").exists():
        runs += 1
        assert runs <= 3
        in_another_process(*words, cwd=broken)
    assert runs == 3 or (behind and runs == 2)
    states = [
        without_identity(read_checkpoint(root / "run/checkpoints/checkpoint_epoch_3.pth"))
        for root in (whole, broken)
    ]
    assert_same(*states)
    found = [
        {one.relative_to(root): one.read_bytes() for one in root.glob("run/artifacts/**/*.onnx*")}
        for root in (whole, broken)
    ]
    assert found[0] == found[1]
    assert Path("run/artifacts/best/model-fp32.onnx") in found[0]
    assert [line["step"] for line in deploy_lines(broken / "run")] == [5, 10, 15]


@pytest.mark.long
def test_what_no_training_can_keep_is_refused_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    limits = {"max_size_kb": 1, "max_peak_ram_kb": 0.1, "max_latency_ms": 1e-9}
    change(config, deploy={**GATE, **limits})
    with pytest.raises(UserError) as told:
        cvtrainer.train(config, overrides=["dir=run"])
    assert told.value.where == "stages.train.deploy"
    for word in ("RAM: ", "KiB is the limit", "ms on this host"):
        assert word in told.value.what
    assert not list(Path("run/artifacts").iterdir())
    assert not list(Path("run/checkpoints").glob("*.pth"))


def test_the_memory_of_halves_is_limited_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    config = enter_project(tmp_path, monkeypatch)
    halves = {"target": "ncnn", "precision": "fp16", "max_peak_ram_kb": 0.1}
    change(config, deploy={**GATE, **halves})
    with pytest.raises(UserError, match=r"no training can keep this limit: RAM: "):
        cvtrainer.train(config, overrides=["dir=run"])


@pytest.mark.long
def test_nothing_that_fails_becomes_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch, broken=BROKEN)
    limits = {"max_drop": 0.0, "max_latency_ms": 10_000}
    change(config, deploy={"every": 2, "sample": 9, **limits})
    hooks = [{"type": "apps.toy.broken.Spoil"}, {"type": "CheckpointHook"}]
    change(config, hooks=hooks, epochs=3)
    run = cvtrainer.train(config, overrides=["dir=run"]).run
    told = capsys.readouterr().out
    lines = deploy_lines(run)
    assert [line["epoch"] for line in lines] == [2, 3]  # every second one, and the last
    assert [line["deploy/passes"] for line in lines] == [0.0, 0.0]
    assert lines[0]["deploy/latency_ms"] > 0
    assert "no artefact has passed" in told
    assert "does not pass: " in told
    names = sorted(path.name for path in (run / "artifacts" / "failed").iterdir())
    assert names == ["model-int8.onnx.contract.json", "model-int8.onnx.unproven"]
    assert not (run / "artifacts" / "best").exists()
    assert not (run / "checkpoints" / "best_model.pth").exists()


@pytest.mark.long
def test_a_stage_that_stops_before_an_artefact_was_due_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    stop = {"metric_name": "val_loss", "patience": 1, "min_delta": 100}
    hooks = [{"type": "early_stopping", "kwargs": stop}, {"type": "CheckpointHook"}]
    change(config, deploy={**GATE, "every": "100ep"}, hooks=hooks, epochs=9)
    cvtrainer.train(config, overrides=["dir=run"])
    told = capsys.readouterr().out
    assert "stopped early in epoch 2" in told
    assert "deploy: the stage ended before an artefact was due, so there is none" in told


BROKEN = '''
import torch

from cvtrainer.hooks.base import BaseHook


class Spoil(BaseHook):
    """The same function, with one channel so large that 8 bits have no room for the others."""

    def before_train(self, stage):
        norm, head = stage.model.backbone[1], stage.model.head[1]
        with torch.no_grad():
            norm.weight[0] *= 1e6
            norm.bias[0] *= 1e6
            head.weight[:, 0] = 0
'''


SKEWED = '''
import torch

from cvtrainer.engine.points import Rank
from cvtrainer.hooks.base import BaseHook


class Skew(BaseHook):
    """In the second evaluation one channel is so large that 8 bits have no room for the others."""

    rank = Rank.UPDATE

    def before_eval(self, stage):
        self.scale(stage, 2.0**20)

    def after_eval(self, stage):
        self.scale(stage, 2.0**-20)

    @torch.no_grad()
    def scale(self, stage, factor):
        norm, head = stage.model.backbone[1], stage.model.head[1]
        if stage.epoch == 2:
            norm.weight[0] *= factor
            norm.bias[0] *= factor
            head.weight[:, 0] /= factor
'''


@pytest.mark.long
def test_the_best_is_that_of_the_artefact_not_of_the_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch is better in floats; evaluated is the same function, but bad for 8 bits."""
    config = enter_project(tmp_path, monkeypatch, skewed=SKEWED)
    hooks = [{"type": "apps.toy.skewed.Skew"}, {"type": "CheckpointHook"}]
    optimizer = {"type": "AdamW", "kwargs": {"lr": 0.003}}
    change(config, deploy={"max_drop": 1, "sample": 9}, hooks=hooks, optimizer=optimizer, epochs=2)
    run = cvtrainer.train(config, overrides=["dir=run"]).run
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    floats = [line["val/accuracy"] for line in lines if line["phase"] == "val"]
    artefacts = [line["deploy/accuracy"] for line in deploy_lines(run)]
    assert floats[1] > floats[0]
    assert artefacts[1] < artefacts[0]
    gate = read_contract(run / "artifacts" / "best" / "model-int8.onnx").proof["gate"]
    assert gate["epoch"] == 1
    assert read_checkpoint(run / "checkpoints" / "best_model.pth")["clock"]["epoch"] == 1


@pytest.mark.long
def test_two_processes_train_with_a_gate(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    change(config, deploy=GATE)
    words = ["train", str(config), "dir=run", "device=cpu", "epochs=1", "--num_gpus", "2"]
    done = in_another_process(*words, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/artifacts/best/model-fp32.onnx").is_file()
    assert len(deploy_lines(tmp_path / "run")) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"target": "onx"}, "deploy.target: there is no target 'onx'"),
        ({"precision": "int4"}, "deploy.precision: onnx has no 'int4'; it has fp32, int8"),
        ({"max_drop": 3}, "deploy.max_drop: must lie between 0 and 1, not 3"),
        ({"max_size_kb": -1}, "deploy.max_size_kb: must be more than 0, not -1"),
        ({"max_drop": True}, "deploy.max_drop: must be a number, not true"),
        ({"evry": 2}, "deploy.evry: unknown key. Did you mean every?"),
        ({"every": "5%"}, "deploy.every: '5%' is no whole number of epochs or steps"),
        ({"sample": 0}, "deploy.sample: must be 1 or more, not 0"),
        ({"calibrator": "mad"}, "deploy.calibrator: must be one of mse, max"),
    ],
)
def test_wrong_words_are_found_with_their_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: dict[str, Any],
    told: str,
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(config, deploy=words)
    assert main(["config", "check", str(config)]) == 2
    found = capsys.readouterr()
    line = next(one for one in (found.out + found.err).splitlines() if told in one)
    assert line.startswith("apps/toy/train.yaml:") or str(config) in line


def test_a_stage_that_rounds_in_training_has_one_set_of_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(config, deploy={"precision": "fp32"}, quantise={})
    assert main(["config", "check", str(config)]) == 2
    told = capsys.readouterr().err
    assert "deploy.precision: a stage with quantise gives 8-bit numbers alone" in told
    change(config, deploy={"target": "litert"})
    assert main(["config", "check", str(config)]) == 2
    assert "deploy.target: litert rounds by itself" in capsys.readouterr().err
    change(config, deploy={"target": "onnx"})
    assert main(["config", "check", str(config)]) == 0


def test_what_the_gate_needs_elsewhere_is_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(config, deploy="onnx", ddp={"enabled": True, "strategy": "fsdp"})
    assert main(["config", "check", str(config)]) == 2
    assert "weights in pieces (fsdp)" in capsys.readouterr().err
    change(config, ddp=False)
    assert main(["config", "check", str(config)]) == 0
    assert main(["config", "show", str(config), "--hooks"]) == 0
    assert "after_eval      ema, deploy, logger" in capsys.readouterr().out
    hooks = [{"type": "CheckpointHook", "kwargs": {"metric_name": "val_loss"}}]
    change(config, hooks=hooks)
    assert main(["config", "check", str(config)]) == 2
    assert "an artefact has no loss" in capsys.readouterr().err
