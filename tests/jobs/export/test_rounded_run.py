"""A run whose last stage trains with rounding: evaluated, predicted and exported as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("torchao")
pytest.importorskip("onnxruntime")

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract
from tests.project import change, enter_project, write_project
from tests.project import cvtrainer as in_another_process

pytestmark = pytest.mark.long


def two_stages(config: Path, **rounded: object) -> None:
    """A float stage, and one that goes on from it with rounding."""
    tree = yaml.safe_load(config.read_text())
    first = {**tree["stages"][0], "epochs": 2}
    second = {"name": "rounded", "init_from": "previous", "quantise": True, **rounded}
    tree["stages"] = [first, {**first, **second}]
    config.write_text(yaml.safe_dump(tree, sort_keys=False))


@pytest.mark.seed("S4-40", "S4-82", "S4-84")
def test_the_artefact_is_what_was_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    two_stages(config)
    done = cvtrainer.train(config, overrides=["dir=run"])
    account = json.loads((done.run / "handover" / "rounded.json").read_text())
    assert not account["problems"]
    assert not account["fits"][0]["missing"]
    assert done.metrics["rounded"]["val/accuracy"] >= done.metrics["train"]["val/accuracy"] - 0.12
    last = max(done.checkpoints, key=lambda path: path.stat().st_mtime)
    weights = torch.load(last, weights_only=True)["networks"]["model"]
    assert any(name.startswith("rounding.") for name in weights)
    twice = [cvtrainer.evaluate(config, checkpoint=last) for _ in range(2)]
    assert twice[0] == twice[1]
    assert {name: done.metrics["rounded"][name] for name in twice[0]} == twice[0]
    assert len(cvtrainer.load(done.run).predict("data/val")) == 9
    capsys.readouterr()
    assert main(["export", "run", "--precision", "int8", "--max_drop", "0", "--out", "out"]) == 0
    contract = read_contract(Path("out/model-int8.onnx"))
    assert contract.proof["agreement"] == 1.0
    assert contract.proof["largest_difference"]["output"] < 1e-5
    assert not list(Path("out").glob("*.doctor.*"))
    assert b"QuantizeLinear" in Path("out/model-int8.onnx").read_bytes()
    assert main(["export", "run"]) == 2
    assert "was trained with 8-bit rounding, so there is no fp32" in capsys.readouterr().err
    floats = next(path for path in done.checkpoints if path.parent.name == "train")
    assert main(["export", str(floats)]) == 0  # beside the last stage's, not in their place
    assert Path("run/artifacts/train/model-fp32.onnx").is_file()
    tree = yaml.safe_load(config.read_text())
    tree["stages"] = [{**tree["stages"][1], "init_from": None}]
    alone = config.with_name("rounded.yaml")
    alone.write_text(yaml.safe_dump(tree, sort_keys=False))
    with pytest.raises(UserError, match="weights are of a network without rounding"):
        cvtrainer.load(floats, config=alone)


@pytest.mark.seed("S4-40", "S4-82")
def test_a_rung_of_the_ladder_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    before = sorted(run.rglob("*.pth"))
    words = ["--precision", "int8", "--sample", "9", "--max_drop", "-2", "--qat", "1"]
    assert main(["export", str(run), *words, "--out", "out"]) == 1
    told = json.loads(Path("out/model-int8.onnx.doctor.json").read_text())
    rungs = [one["rung"] for one in told["rungs"]]
    place = rungs.index("1 epoch of training with rounding")
    assert rungs[place - 1] == "bias correction"
    assert "float" in rungs[place + 1]
    assert sorted(run.rglob("*.pth")) == before
    assert not Path("checkpoints").exists()


@pytest.mark.seed("S4-38", "S4-39")
def test_words_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = enter_project(tmp_path, monkeypatch)

    def asked(value: object) -> dict[str, object] | None:
        change(config, quantise=value)
        found: dict[str, object] | None = (
            compile_config(config).resolved["stages"][0].get("quantise")
        )
        return found

    for word in ("None", None):
        assert asked({"num_batches": word})["num_batches"] is None
    for method in ("entropy", "max", "percentile", "mse"):
        assert asked(method)["method"] == method
    assert asked(True) == asked({})
    assert asked(False) is None
    for wrong, what in (
        ({"method": "median"}, "must be one of mse, max, percentile, entropy"),
        ({"num_batches": 0}, "must be 1 or more"),
        ({"freeze_ranges": "soon"}, "is no duration"),
        ({"frees": 1}, "unknown key"),
    ):
        with pytest.raises(UserError, match=what):
            asked(wrong)


@pytest.mark.seed("S4-38", "S4-39")
@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"method": "entropy", "num_batches": None}, "ranges by entropy of 5 batches"),
        ({"method": "mse", "num_batches": 2}, "ranges by mse of 2 batches"),
    ],
)
def test_ranges_come_from_so_many_batches(
    block: dict[str, object],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(config, quantise=block, epochs=1)
    cvtrainer.train(config, overrides=["dir=run"])
    assert told in "".join(capsys.readouterr())


def test_half_precision_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = enter_project(tmp_path, monkeypatch)
    change(
        config, quantise=True, epochs=1, hooks=[{"type": "amp", "kwargs": {"dtype": "bfloat16"}}]
    )
    with pytest.raises(UserError, match="trained in 32-bit floats"):
        cvtrainer.train(config, overrides=["dir=run"])


def test_two_processes_have_one_set_of_ranges(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    change(config, quantise={"freeze_ranges": "60%"}, epochs=2)
    words = ["train", "--config", str(config), "--num_gpus", "2", "device=cpu", "dir=run"]
    done = in_another_process(*words, cwd=tmp_path, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "ranges by max of 3 batches" in done.stdout + done.stderr
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint_epoch_2.pth"
    weights = torch.load(checkpoint, weights_only=True)["networks"]["model"]
    low, high = weights["rounding.x.ends"].tolist()
    assert low < 0 < high
