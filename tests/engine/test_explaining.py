"""One line about what a layer could not take."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.explaining import explaining
from cvtrainer.engine.supervised import SupervisedTask


@pytest.mark.parametrize("number", [7, -1])
def test_a_number_without_a_place_in_the_table_is_told(number: int) -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3))
    task = SupervisedTask(model, nn.CrossEntropyLoss())
    compute = explaining(task.compute, task.networks, learns=True)
    batch = {"x": torch.tensor([[0, number]]), "target": torch.tensor([1])}
    words = rf"layer 0 \(Embedding\) takes numbers from 0 to 4 and gets {number}; .* tokens or cat"
    with pytest.raises(UserError, match=words):
        compute(batch)
