"""Outputs with the name of a field: what is compared with stays the field."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.engine.criteria import Criterion
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.meters import AccuracyMeter
from cvtrainer.tasks import Classification

SCORES = torch.eye(3)
BATCH: dict[str, Any] = {
    "x": SCORES,
    "target": {"class_id": torch.tensor([0, 2, 1]), "count": torch.tensor([1.0, 2.0, 3.0])},
}


@pytest.mark.parametrize(
    "bind",
    [
        {},
        {"target": "class_id"},
        {"target": "target.class_id"},
        {"output": "output", "target": "class_id"},
    ],
)
def test_a_meter_compares_with_the_field_and_not_with_what_a_reading_made(bind: Any) -> None:
    batch = {**BATCH, "target": {"class_id": BATCH["target"]["class_id"]}}
    task = SupervisedTask(nn.Identity(), nn.CrossEntropyLoss(), reading=Classification())
    result = task.evaluate(batch)
    assert result.outputs["class_id"].tolist() == [0, 1, 2]
    recorder = Recorder([MeterEntry("accuracy", AccuracyMeter(), bind=bind)], "val")
    recorder.record(batch, result)
    assert recorder.compute()["accuracy"] == pytest.approx(1 / 3)
    again = Recorder([MeterEntry("accuracy", AccuracyMeter(), bind=bind)], "val")
    assert again.what_changed(recorder.state_dict()) is None


def test_a_criterion_compares_an_output_with_the_field_of_its_name() -> None:
    outputs = {"output": SCORES, "count": torch.tensor([1.0, 2.0, 5.0])}
    for field in ("count", "target.count"):
        one = Criterion(nn.MSELoss(), bind={"input": "count", "target": field})
        value, _ = one.compare(BATCH, outputs, "criterion")
        assert float(value) == pytest.approx(4 / 3)
