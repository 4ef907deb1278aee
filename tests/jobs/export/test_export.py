"""A run becomes an artefact that is compared with it from files, or is marked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.cli.table import number
from cvtrainer.core.claims import claim_of
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import input_spec_of
from cvtrainer.deploy.contract import Port, read_contract
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.checkpoint_file import write_checkpoint
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.export.proof import prove
from cvtrainer.jobs.export.stratified import stratified
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.load import open_trained
from tests.project import change, enter_project

pytestmark = pytest.mark.long


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short run of a classifier; pictures of 16 px that evaluation makes 12."""
    config = enter_project(tmp_path, monkeypatch)
    return cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=2"]).run


@pytest.mark.seed("S1-09", "S4-24")
def test_a_proven_artefact_lies_in_the_run_with_its_contract(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run)]) == 0
    told = capsys.readouterr().out
    assert "proven on 9 samples" in told
    artefact = run / "artifacts" / "model-fp32.onnx"
    contract = read_contract(artefact)
    assert contract.input.shape == (None, 3, 12, 12)
    assert contract.spec == input_spec_of(open_trained(run).stage)
    assert contract.classes == ("class_0", "class_1", "class_2")
    assert {port.name for port in contract.outputs} == {"output", "probabilities", "class_id"}
    assert contract.proof["agreement"] == contract.proof["likeness"] == 1.0
    assert contract.proof["largest_difference"]["output"] < 1e-4
    assert contract.proof["trained"] == contract.proof["artefact"]


@pytest.mark.seed("S4-37", "S4-81")
def test_eight_bits_are_calibrated_on_training_data_and_proven_alike(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "fp32,int8", "--sample", "9", "--max_drop", "1"]
    assert main(["export", str(run), *words]) == 0
    told = capsys.readouterr().out
    assert told.count("proven on 9 samples") == 2
    for precision in ("fp32", "int8"):
        assert read_contract(run / "artifacts" / f"model-{precision}.onnx").precision == precision
    assert main(["export", str(run), "--precision", "int4"]) == 2
    assert "onnx has no int4" in capsys.readouterr().err


def test_eight_bits_are_compared_also_as_the_runtime_opens_them_unasked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "int8", "--sample", "9", "--max_drop", "1"]
    assert main(["export", str(run), *words]) == 0
    artefact = run / "artifacts" / "model-int8.onnx"
    contract = read_contract(artefact)
    told = contract.proof["optimised"]
    session = onnxruntime.InferenceSession(str(artefact), providers=["CPUExecutionProvider"])
    trained = open_trained(run)
    validation = Validation.of(trained)
    name, away, right = contract.input.name, 0.0, 0
    for batch in validation.batches(torch.device("cpu")):
        made = session.run(["output"], {name: batch[name].numpy()})[0]
        with torch.no_grad():
            exact = trained.network(batch[name]).numpy()
        away = max(away, float(np.abs(made - exact).max()))
        right += int((made.argmax(1) == batch["target"]["class_id"].numpy()).sum())
    validation.close()
    assert told["largest_difference"]["output"] == pytest.approx(away, abs=1e-6)
    assert told["artefact"]["accuracy"] == pytest.approx(right / 9)
    line = f"with its runtime's own optimisations: accuracy {number(right / 9)}"
    assert line in capsys.readouterr().out


def test_the_calibration_sample_has_each_class_in_its_share() -> None:
    labels = [0] * 80 + [1] * 15 + [2] * 5
    chosen = stratified(labels, 100, 20)
    counts = np.bincount(np.asarray(labels)[chosen])
    assert counts.tolist() == [16, 3, 1]
    assert np.array_equal(chosen, stratified(labels, 100, 20))
    assert len(set(stratified(None, 50, 20).tolist())) == 20


def test_what_misses_its_limit_is_marked_and_the_exit_code_is_1(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--max_drop", "-0.5", "--out", "given"]) == 1
    told = capsys.readouterr().err
    assert "not proven, given/model-fp32.onnx.unproven: accuracy" in told
    names = sorted(path.name for path in Path("given").iterdir())
    assert names == ["model-fp32.onnx.contract.json", "model-fp32.onnx.unproven"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--precision", ""), "--precision: no precision is named"),
        (("--target", ","), "--target: no target is named"),
        (("--int8", "--precision", "fp32"), "--precision fp32: --int8 says already"),
        (("--sample", "-5"), "--sample: -5 is less than 1"),
        (("--qat", "-1"), "--qat: -1 is less than 0"),
        (("--calibrator", "entrpy"), "--calibrator: 'entrpy' is none of mse, max"),
        (("--quantizer", "modelop"), "did you mean modelopt?"),
    ],
)
def test_words_are_checked_before_the_run_is_opened(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "there/is/no/run", *words]) == 2
    assert told in capsys.readouterr().err


def test_an_older_proven_artefact_does_not_outlive_its_proof(run: Path) -> None:
    """Its contract is that of the newer one, which says that nothing is proven."""
    assert main(["export", str(run), "--out", "given"]) == 0
    assert main(["export", str(run), "--max_drop", "-0.5", "--out", "given"]) == 1
    names = sorted(path.name for path in Path("given").iterdir())
    assert names == ["model-fp32.onnx.contract.json", "model-fp32.onnx.unproven"]
    assert main(["export", str(run), "--out", "given"]) == 0
    names = sorted(path.name for path in Path("given").iterdir())
    assert names == ["model-fp32.onnx", "model-fp32.onnx.contract.json"]


def test_a_proof_is_of_the_very_files(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run)]) == 0
    artefact = run / "artifacts" / "model-fp32.onnx"
    contract = read_contract(artefact)
    assert contract.files == {"": hashlib.sha256(artefact.read_bytes()).hexdigest()}
    assert contract.made["checkpoint"] == "best_model.pth"
    assert contract.made["stage"] == "train"
    capsys.readouterr()
    assert main(["eval", "--artifact", str(artefact)]) == 0
    assert "changed after the proof" not in capsys.readouterr().err
    model: Any = onnx.load(str(artefact))
    model.producer_name = "somebody else"
    onnx.save(model, str(artefact))
    assert main(["eval", "--artifact", str(artefact)]) == 0
    told = "model-fp32.onnx: model-fp32.onnx changed after the proof, which says nothing of it"
    assert told in capsys.readouterr().err
    assert main(["bench", str(artefact), "--runs", "10"]) == 0
    assert told in capsys.readouterr().out


def test_samples_that_stand_in_for_others_are_told(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = sorted(Path("data/val").rglob("*.png"))[0]
    broken.write_bytes(b"no picture")
    assert main(["export", str(run)]) == 0
    told = capsys.readouterr()
    assert "proven on 9 samples, from file bytes (1 in the place of others" in told.out
    assert read_contract(run / "artifacts" / "model-fp32.onnx").proof["stand_ins"] == 1


def test_one_export_at_a_time_writes_into_a_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("given")
    folder.mkdir()
    with claim_of(folder, UserError("this test has it")):
        assert main(["export", str(run), "--out", "given"]) == 2
    told = capsys.readouterr().err
    assert "given: another export is writing into this folder. Wait for it to end" in told
    assert not list(folder.iterdir())
    assert main(["export", str(run), "--out", "given"]) == 0


def _tensors(state: Any, name: str) -> Iterator[torch.Tensor]:
    """All tensors of that name, averages of it too."""
    for key, value in state.items() if isinstance(state, dict) else ():
        if isinstance(value, torch.Tensor) and key == name:
            yield value
        yield from _tensors(value, name)


def test_a_network_without_numbers_is_not_proven_by_an_artefact_without_them(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = read_checkpoint(run / "checkpoints" / "best_model.pth")
    for tensor in _tensors(state, "head.1.bias"):
        tensor.fill_(math.nan)
    write_checkpoint(Path("broken.pth"), state)
    assert main(["export", "broken.pth", "--config", str(run / "config.yaml")]) == 1
    assert "not proven" in (told := capsys.readouterr().err)
    assert "the output output holds NaN" in told


def test_another_networks_answers_are_no_proof(run: Path) -> None:
    trained = open_trained(run)
    spec = input_spec_of(trained.stage)
    validation = Validation.of(trained)
    example = next(iter(validation.batches(trained.device)))
    graph = Graph(trained, spec.name, example)
    assert main(["export", str(run)]) == 0
    contract = read_contract(run / "artifacts" / "model-fp32.onnx")

    def always_the_first(inputs: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            made = graph.compute(torch.from_numpy(inputs))
        return {
            **{name: value.numpy() for name, value in made.items()},
            "class_id": np.zeros(len(inputs), np.int64),
        }

    meters = trained.experiment.meters(trained.stage)
    proof = prove(graph, always_the_first, contract, validation, meters, trained.device)
    validation.close()
    assert proof.samples == 9
    assert proof.agreement < 1.0
    assert len(proof.disagreeing) == round((1 - proof.agreement) * 9)


def test_a_step_without_a_form_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    import yaml

    loaders = yaml.safe_load(config.read_text())["stages"][0]["dataloader"]
    loaders["val"]["transforms"]["transforms"].append({"type": "Equalize", "kwargs": {"p": 1}})
    change(config, dataloader=loaders)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    assert main(["export", str(run)]) == 2
    assert "Equalize has no form in an input spec" in capsys.readouterr().err
    assert not list((run / "artifacts").glob("*"))


def test_pictures_that_were_never_resized_are_fitted_to_those_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    import yaml

    loaders = yaml.safe_load(config.read_text())["stages"][0]["dataloader"]
    del loaders["val"]["transforms"]
    change(config, dataloader=loaders)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    assert main(["export", str(run)]) == 0
    assert "pictures become 16x16" in capsys.readouterr().err
    told = json.loads((run / "artifacts" / "model-fp32.onnx.contract.json").read_text())
    assert told["spec"]["steps"][-1]["size"] == [16, 16]
    assert Port(**{**told["input"], "shape": tuple(told["input"]["shape"])}).shape[2:] == (16, 16)
