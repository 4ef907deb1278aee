"""An export finds an operating point through the artefact; its package answers by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract, write_contract
from cvtrainer.deploy.operating.goal import goal_of
from cvtrainer.deploy.package.contents import Contents
from cvtrainer.engine.recorder import MeterEntry
from cvtrainer.jobs.evaluate_artifact import evaluate_artifact
from cvtrainer.jobs.export.witness import Witness
from cvtrainer.meters import AccuracyMeter
from cvtrainer.telling.classification import Classification, MultiLabel
from cvtrainer.telling.detection import Detection
from cvtrainer.telling.operating import Operating
from cvtrainer.telling.regression import Regression
from tests.deploy.package.made import contract, sources, write
from tests.project import enter_project, write_pictures


@pytest.mark.long
def test_a_point_is_found_on_the_artefact_shipped_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    write_pictures(tmp_path / "data" / "val", per_class=12)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=2"]).run
    assert main(["export", str(run), "--operate", "coverage=0.5", "--package"]) == 0
    said = capsys.readouterr().out
    assert "operating point of model-fp32.onnx, coverage=0.5, cross-fitted on 36 samples" in said
    told = read_contract(run / "artifacts" / "model-fp32.onnx")
    point = told.operating
    assert point is not None
    assert point["samples"] == 36
    assert 0.25 < point["measured"]["coverage"] < 0.75
    assert point["before"]["coverage"] == 1.0
    model = cvtrainer.load(run / "artifacts" / "model.cvt")
    card = model.card
    assert "| model-fp32.onnx | coverage=0.5 | 36 |" in card
    assert "| model-fp32.onnx | without | 36 | 1.0000 |" in card
    answers = model.predict(str(tmp_path / "data" / "val"))
    unknown = [one for one in answers if one["class"] == "unknown"]
    assert len(answers) == 36
    assert len(unknown) == 18  # half of the very samples that the point was found on
    assert all(one["class_id"] is None and len(one["top"]) == 3 for one in unknown)
    level = point["thresholds"][0]
    assert max(one["probability"] for one in unknown) < level
    assert all(one["probability"] >= level for one in answers if one["class"] != "unknown")
    here = evaluate_artifact(run / "artifacts" / "model.cvt")
    assert here.metrics["val/accuracy"] == told.proof["artefact"]["accuracy"]
    assert here.operating is not None
    assert here.operating["measured"]["coverage"] == 0.5
    sure = [one for one in answers if one["class"] != "unknown"]
    right = [one for one in sure if Path(one["file"]).parent.name == one["class"]]
    assert here.operating["measured"]["precision"] == len(right) / len(sure)
    assert here.operating["before"]["precision"] == told.proof["artefact"]["accuracy"]
    assert here.operating["cross_fitted"] == point["measured"]
    assert main(["eval", "--artifact", str(run / "artifacts" / "model.cvt")]) == 0
    said = capsys.readouterr().out
    assert "at its operating point (coverage=0.5), which the table above leaves out:" in said
    assert "coverage 0.5000 (without 1.0000)" in said
    assert "found on val itself, so these figures flatter it" in said
    assert main(["export", str(run), "--operate", "sure=1"]) == 2
    assert "--operate: 'sure=1' is no goal" in capsys.readouterr().err


@pytest.mark.long
def test_the_contract_holds_the_plan_that_model_fit_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cvtrainer.jobs.model.fit import Board, fit

    config = enter_project(tmp_path, monkeypatch)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    assert main(["export", str(run)]) == 0
    plan = read_contract(run / "artifacts" / "model-fp32.onnx").plan
    board = Board(precision="float", device="stm32h7")
    found = fit(config, board)
    assert plan == found.plan.brief()
    assert [layer["name"] for layer in plan["layers"]] == ["backbone.0", "adapter.0", "head.1"]
    conv = plan["layers"][0]
    assert conv["moved_bytes"] == 4 * (3 * 12 * 12 + 8 * 6 * 6)
    assert found.limits.ram_bytes == 512 * 1024
    words = ["model", "fit", "--config", str(config), "--device"]
    capsys.readouterr()
    assert main([*words, "stm32h7"]) == 0
    assert "estimate for STM32H743, not measured: " in capsys.readouterr().out
    assert main([*words, "stm32h7", "--ram", "100"]) == 1
    assert main([*words, "stm32n6", "--precision", "float"]) == 0
    assert "no estimate: the file of STM32N657 has no MACs of float" in capsys.readouterr().out


def test_a_package_with_a_damaged_point_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.cvt", sources(operating={"temperature": 2.0, "thresholds": None}))
    pixels = np.full((8, 8, 3), 10, np.uint8)
    pixels[..., 1] = 90
    usual = cvtrainer.load(write(tmp_path / "b.cvt")).predict(pixels)[0]
    soft = cvtrainer.load(whole).predict(pixels)[0]
    assert (usual["class"], soft["class"]) == ("green", "green")
    assert soft["probability"] < usual["probability"]
    wrong = write(tmp_path / "c.cvt", sources(operating={"temperature": -1}))
    with pytest.raises(UserError, match="operating point of temperature -1"):
        Contents.of(wrong)


def test_a_contract_goes_to_a_file_and_back_with_its_point(tmp_path: Path) -> None:
    point = {"temperature": 1.5, "thresholds": [0.1, None, 0.3], "goal": "precision=0.9"}
    told = replace(contract(), operating=point, plan={"layers": []})
    write_contract(tmp_path / "a.onnx", told)
    assert read_contract(tmp_path / "a.onnx") == told


def seen(
    reading: Any, batch: dict[str, Any], outputs: dict[str, Any], goal: str, **bind: str
) -> Any:
    """The point of one batch."""
    entries = [MeterEntry("accuracy", AccuracyMeter(), bind)]
    witness = Witness(reading, entries, goal_of(goal))
    witness.see(batch, outputs)
    return witness.point(["a", "b"]).told


def test_the_truth_is_what_meters_compare_with_or_what_has_its_form() -> None:
    shares = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    x, labels = torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    other = torch.tensor([1, 0, 1, 0])
    outputs = {"probabilities": shares}
    one = seen(Classification(), {"x": x, "target": labels}, outputs, "precision=0.9")
    assert one["measured"]["answers"] == 4
    two = {"x": x, "target": {"kind": labels, "other": other}}
    with pytest.raises(UserError, match="2 fields of a batch could be the truth"):
        seen(Classification(), two, outputs, "calibrated")
    bound = seen(Classification(), two, outputs, "calibrated", target="other")
    assert bound["before"]["precision"] == 0.0
    with pytest.raises(UserError, match="several places"):
        seen(Classification(), two, {"probabilities": torch.ones(4, 2, 3)}, "calibrated")
    with pytest.raises(UserError, match="a task of regression has no operating point"):
        seen(Regression(), two, outputs, "calibrated")


def test_a_point_is_judged_by_what_it_answers_of_other_samples() -> None:
    shares = torch.tensor([[0.9, 0.1], [0.45, 0.55], [0.6, 0.4], [0.2, 0.8]])
    labels = torch.tensor([0, 0, 1, 1])
    witness = Witness(Classification(), [])
    witness.see({"x": torch.zeros(4, 3, 8, 8), "target": labels}, {"probabilities": shares})
    told = witness.judged(Operating(1.0, (0.7, 0.5)), ["a", "b"])
    assert told["before"]["precision"] == 0.5
    assert told["measured"]["coverage"] == 0.75
    assert told["measured"]["precision"] == pytest.approx(2 / 3)
    assert told["measured"]["recall"] == 0.5
    assert [one["answers"] for one in told["classes"]] == [1, 2]
    assert told["calibration"]["error"] == told["calibration"]["error_before"]
    softer = witness.judged(Operating(2.0, (0.7, None)), None)  # 0.9 becomes 0.75
    assert softer["measured"]["answers"] == softer["classes"][0]["answers"] == 1
    assert softer["calibration"]["nll"] != softer["calibration"]["nll_before"]
    assert witness.judged(Operating(2.0), None)["measured"]["coverage"] == 1.0


def test_several_labels_and_objects_have_points_too() -> None:
    shares = torch.tensor([[0.9, 0.6], [0.8, 0.7], [0.1, 0.2], [0.2, 0.1]])
    truth = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    batch = {"x": torch.zeros(4, 3, 8, 8), "target": truth}
    told = seen(MultiLabel(), batch, {"probabilities": shares}, "precision=0.9")
    assert told["before"]["precision"] == pytest.approx(3 / 4)
    assert [one["samples"] for one in told["classes"]] == [2, 1]
    assert 0.6 < told["thresholds"][1] < 0.8  # calibrated shares differ from the network's
    box = torch.tensor([0.0, 0.0, 4.0, 4.0])
    objects = {
        "x": torch.zeros(2, 3, 8, 8),
        "target": {
            "boxes": box.expand(2, 2, 4),
            "box_labels": torch.tensor([[1, 0], [1, 0]]),
            "boxes_padding": torch.tensor([[False, True], [False, True]]),
        },
    }
    found = {
        "found_boxes": torch.stack((box, box + 20, box)).expand(2, 3, 4),
        "found_scores": torch.tensor([[0.9, 0.6, 0.0], [0.8, 0.5, 0.0]]),
        "found_classes": torch.tensor([[1, 1, 0], [1, 1, 0]]),
    }
    told = seen(Detection(), objects, found, "precision=0.9")
    assert told["thresholds"] == [None, pytest.approx(0.7)]
    assert told["before"]["precision"] == 0.5
    assert told["measured"]["precision"] == 1.0
    assert told["notes"] == ["without samples, so never answered: a"]
    witness = Witness(Detection(), [])
    witness.see(objects, found)
    point = witness.judged(Operating(1.0, (None, 0.7)), ["a", "b"])
    assert (point["measured"], point["before"]["answers"]) == (told["measured"], 4)
    assert "calibration" not in point
    with pytest.raises(UserError, match="coverage is a goal for one class per sample"):
        Witness(Detection(), [], goal_of("coverage=0.5"))  # before anything is measured
    del objects["target"]["boxes_padding"]
    with pytest.raises(UserError, match="a batch has no boxes_padding"):
        seen(Detection(), objects, found, "precision=0.9")
