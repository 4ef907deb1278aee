"""A task of one's own that lacks something is told before data is opened, with what it lacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment.task_form import refuse_gaps
from cvtrainer.protocols import UpdateResult
from tests.toy import batches


class Whole:
    name, every = "main", 1

    def __init__(self) -> None:
        self.networks = {"model": nn.Linear(6, 1)}

    def updates(self) -> Any:
        return (self,)

    def replace(self, networks: Any) -> None: ...

    def compute(self, batch: Any) -> UpdateResult:
        loss = self.networks["model"](batch["x"]).mean()
        return UpdateResult(loss, {}, {})

    evaluate = compute


def without(name: str) -> Any:
    kept = {key: value for key, value in vars(Whole).items() if key != name}
    return type("Gap", (), kept)()


@pytest.mark.seed("S2-31")
@pytest.mark.parametrize("name", ["replace", "evaluate", "compute", "every"])
def test_a_task_that_lacks_a_method_is_one_line(name: str) -> None:
    refuse_gaps(Whole(), "own.Whole")
    with pytest.raises(UserError, match=rf"task: own\.Gap.*it has no {name}\."):
        refuse_gaps(without(name), "own.Gap")


def test_a_task_that_neither_trains_nor_reads() -> None:
    with pytest.raises(UserError, match="neither updates"):
        refuse_gaps(object(), "own.Nothing")
    half = type("Half", (), {"decode": lambda self, outputs: outputs})()
    with pytest.raises(UserError, match="it has no describe"):
        refuse_gaps(half, "own.Half")


class Named(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> Any:
        value = nn.functional.cross_entropy(output, target)
        return {"loss": value, "half": value / 2}


@pytest.mark.seed("S2-31")
def test_a_loss_may_be_a_tensor_or_a_mapping() -> None:
    batch = batches(1)[0]
    network = nn.Linear(6, 3)
    plain = SupervisedTask(network, nn.CrossEntropyLoss()).compute(batch)
    named = SupervisedTask(network, Named()).compute(batch)
    assert torch.equal(plain.loss, named.loss)
    assert set(named.losses) == {"half"}
