"""The default task: which field goes where, per form of batch, and what the criterion keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer
from tests.toy import ToyModel, batches


class NamesItX(nn.Module):
    """Many losses call the prediction `x`, which is also the usual name of the image field."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(x, target)


class Centered(nn.Module):
    """Keeps a running mean of the outputs, as some losses do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(3))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        center = self.get_buffer("center")
        center.mul_(0.9).add_(output.detach().mean(0), alpha=0.1)
        return functional.cross_entropy(output - center, target)


class CountsRows(AccuracyMeter):
    """Calls the prediction `x` as well."""

    def update(self, x: Tensor, target: Tensor) -> None:  # type: ignore[override]
        super().update(x, target)


def trainer(criterion: nn.Module, **loaders: Any) -> Trainer:
    torch.manual_seed(0)
    model = ToyModel()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = {"train": batches(), **loaders}
    return Trainer(model, criterion, optimizer, data, meters=[LossMeter(), CountsRows()])


def test_the_first_parameter_of_a_loss_is_the_prediction_whatever_its_name() -> None:
    assert trainer(NamesItX()).train(1) == trainer(nn.CrossEntropyLoss()).train(1)


def test_an_input_field_may_be_what_is_compared_with() -> None:
    class Copies(nn.Module):
        def forward(self, input: Tensor) -> Tensor:
            return input * 0

    task = SupervisedTask(Copies(), nn.MSELoss(), bind_criterion={"target": "input"})
    result = task.compute({"input": torch.full((2, 3), 2.0), "target": torch.zeros(2)})
    assert float(result.loss) == 4.0


def test_splits_may_name_their_targets_differently() -> None:
    val = [{**one, "target": {"label": one["target"]["class_id"]}} for one in batches(2)]
    metrics = trainer(nn.CrossEntropyLoss(), val=val).train(1)
    assert "val/loss" in metrics
    assert "val/accuracy" in metrics


def test_what_a_criterion_keeps_is_resumed() -> None:
    whole = trainer(Centered())
    whole.train(2)
    first = trainer(Centered())
    first.train(1)
    state = first.state_dict()
    second = trainer(Centered())
    second.load_state_dict(state)
    second.train(2)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
    with pytest.raises(UserError, match="criterion"):
        trainer(nn.CrossEntropyLoss()).load_state_dict(state)


def test_where_a_field_is_padded_is_no_input_and_no_target_of_its_own() -> None:
    """A padded input and a padded target stay the single ones; a model may ask for the padding."""

    class Reads(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values.sum(1, keepdim=True)

    class ReadsPadding(nn.Module):
        def forward(self, values: Tensor, x_padding: Tensor) -> Tensor:
            return values.masked_fill(x_padding, 0.0).sum(1, keepdim=True)

    rows = torch.arange(6.0).view(2, 3)
    batch = {
        "x": rows,
        "x_padding": rows > 3,
        "target": {"value": torch.zeros(2, 1), "value_padding": torch.zeros(2, 1) > 0},
    }
    plain = SupervisedTask(Reads(), nn.MSELoss()).evaluate(batch)
    assert plain.outputs["output"].tolist() == [[3.0], [12.0]]
    told = SupervisedTask(ReadsPadding(), nn.MSELoss()).evaluate(batch)
    assert told.outputs["output"].tolist() == [[3.0], [3.0]]


@pytest.mark.seed("S1-61", "S4-66")
def test_pictures_and_labels_alone_are_enough() -> None:
    batch = {"image": torch.randn(4, 3), "label": torch.tensor([0, 2, 1, 1])}
    model = nn.Linear(3, 3)
    result = SupervisedTask(model, nn.CrossEntropyLoss()).compute(batch)
    expected = nn.functional.cross_entropy(model(batch["image"]), batch["label"])
    assert torch.equal(result.loss, expected)
