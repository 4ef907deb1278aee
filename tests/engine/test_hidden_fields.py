"""Outputs with the name of a field: what is compared with stays the field."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.criteria import Criterion
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.meters import AccuracyMeter, RegressionMeter
from cvtrainer.protocols import UpdateResult
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


def test_a_field_is_not_compared_with_itself_where_nothing_was_read() -> None:
    """In training the reading has not made its `count`, so the name means the target alone."""
    bind = {"output": "count", "target": "count"}
    batch = {**BATCH, "target": {"count": BATCH["target"]["count"]}}
    read = UpdateResult(torch.tensor(0.0), {}, {"output": SCORES, "count": torch.ones(3)})
    recorder = Recorder([MeterEntry("mae", RegressionMeter(), bind=bind)], "val")
    recorder.record(batch, read)
    assert recorder.compute()["mae"] == pytest.approx(1.0)
    unread = UpdateResult(torch.tensor(0.0), {}, {"output": SCORES})
    recorder = Recorder([MeterEntry("mae", RegressionMeter(), bind=bind)], "train")
    with pytest.raises(UserError, match=r"both be the field count\. Bind different.*phases"):
        recorder.record(batch, unread)
