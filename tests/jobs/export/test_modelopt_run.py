"""A run whose last stage trains with modelopt's rounding: handed over, resumed, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("modelopt")
pytest.importorskip("onnxruntime")

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.jobs.export.test_rounded_run import two_stages
from tests.project import change, enter_project, write_project
from tests.project import cvtrainer as in_another_process
from tests.trainer.test_state import assert_same, without_identity

pytestmark = pytest.mark.long
BLOCK = {"quantizer": "modelopt", "freeze_ranges": "60%", "num_batches": 2}


@pytest.mark.seed("S4-41", "S4-82", "S4-84")
def test_the_folder_for_tensorrt_is_what_was_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    gate = {"precision": "int8", "max_drop": 0.5, "max_peak_ram_kb": 100}
    two_stages(config, quantise=BLOCK, epochs=4, deploy=gate)
    done = cvtrainer.train(config, overrides=["dir=run"])
    account = json.loads((done.run / "handover" / "rounded.json").read_text())
    assert not account["problems"]
    assert not account["fits"][0]["missing"]
    losses = [
        line["train/loss"]
        for line in map(json.loads, (done.run / "metrics.jsonl").read_text().splitlines())
        if line.get("stage") == "rounded" and "train/loss" in line
    ]
    assert losses[-1] < losses[0]
    best = done.run / "checkpoints" / "rounded" / "best_model.pth"
    twice = [cvtrainer.evaluate(config, checkpoint=best) for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(cvtrainer.load(done.run).predict("data/val")) == 9
    judged = read_contract(done.run / "artifacts" / "rounded" / "best" / "model-int8.onnx")
    assert judged.proof["gate"]["passes"]
    assert judged.proof["largest_difference"]["output"] < 1e-5
    capsys.readouterr()
    words = ["export", "run", "--precision", "int8", "--max_drop", "0", "--out", "out"]
    assert main([*words, "--target", "onnx", "--package", "model.cvt"]) == 0
    proof = read_contract(Path("out/model-int8.onnx")).proof
    assert proof["agreement"] == 1.0
    assert proof["largest_difference"]["output"] < 1e-5
    assert len(cvtrainer.load("model.cvt").predict("data/val")) == 9
    assert main([*words, "--target", "tensorrt", "--quantizer", "modelopt"]) == 3
    proof = read_contract(Path("out/model-int8.tensorrt")).proof
    assert proof["largest_difference"]["output"] < 1e-5
    assert "--int8" in proof["checked"]["command"]
    assert not list(Path("out").glob("*.doctor.*"))
    capsys.readouterr()
    for more, told in (
        (["--target", "openvino"], "openvino is not known to keep what modelopt has rounded"),
        (["--precision", "fp32"], "was trained with 8-bit rounding, so there is no fp32"),
    ):
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err


def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(config, quantise=BLOCK)
    whole = cvtrainer.train(config, overrides=["dir=whole"]).run
    name = "checkpoints/checkpoint_epoch_3.pth"
    first = whole / "checkpoints" / "checkpoint_epoch_1.pth"
    again = cvtrainer.train(config, overrides=["dir=again"], resume=str(first)).run
    ends = [without_identity(read_checkpoint(run / name)) for run in (whole, again)]
    assert_same(ends[0]["networks"], ends[1]["networks"])
    assert_same(ends[0], ends[1])
    begun, ended = (read_checkpoint(one)["networks"]["model"] for one in (first, again / name))
    place = "backbone.0.input_quantizer._amax"
    assert not torch.equal(begun[place], ended[place])
    averaged = ends[0]["hooks"]["ema"]["averaged_weights"]["model"][place]
    assert begun[place] < averaged < ended[place]


def test_words_of_the_stage_and_what_does_not_go_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(config, quantise={"quantizer": "modelopt"})
    assert compile_config(config).resolved["stages"][0]["quantise"]["symmetric"] is True
    for wrong, told in (
        ({"quantizer": "modelopt", "symmetric": False}, "no other zero points than 0"),
        ({"quantizer": "nobody"}, "must be one of torchao, modelopt"),
    ):
        change(config, quantise=wrong)
        with pytest.raises(UserError, match=told):
            compile_config(config)
    change(config, quantise=BLOCK, epochs=1)
    for hook, told in (
        ({"type": "amp", "kwargs": {"dtype": "bfloat16"}}, "trained in 32-bit floats"),
        ({"type": "compile"}, "neither sharded nor copied nor compiled"),
    ):
        change(config, hooks=[hook])
        with pytest.raises(UserError, match=told):
            cvtrainer.train(config, overrides=["dir=run"])


def test_two_processes_have_one_set_of_ranges(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    change(config, quantise=BLOCK, epochs=2)
    words = ["train", "--config", str(config), "--num_gpus", "2", "device=cpu", "dir=run"]
    done = in_another_process(*words, cwd=tmp_path, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "ranges by max of 2 batches" in done.stdout + done.stderr
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint_epoch_2.pth"
    weights = torch.load(checkpoint, weights_only=True)["networks"]["model"]
    assert float(weights["backbone.0.input_quantizer._amax"]) > 1
