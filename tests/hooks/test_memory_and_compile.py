"""Channels last and compiled networks: other ways to compute, the same names and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.hooks import BaseHook, ChannelsLastHook, CompileHook, EMAHook
from cvtrainer.trainer import Trainer
from tests.hooks.test_accumulate import SaveAt
from tests.toy import toy_trainer


def pictures(count: int = 3) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "x": torch.randn(4, 3, 8, 8, generator=generator),
            "target": {"class_id": torch.tensor([0, 1, 2, 1])},
        }
        for _ in range(count)
    ]


def conv_trainer(hooks: Any) -> Trainer:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network.append(nn.Linear(8, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loaders = {"train": pictures(), "val": pictures(1)}
    return Trainer(network, nn.CrossEntropyLoss(), optimizer, loaders, hooks=hooks)


class Layouts(BaseHook):
    """How the pictures lie in memory when the network gets them."""

    def __init__(self) -> None:
        self.seen: dict[str, bool] = {}

    def before_forward(self, stage: Any) -> None:
        layout = torch.channels_last
        self.seen[stage.phase] = stage["batch"]["x"].is_contiguous(memory_format=layout)


def test_pictures_and_weights_lie_with_channels_last() -> None:
    layouts = Layouts()
    trainer = conv_trainer([ChannelsLastHook(), layouts])
    first = next(trainer.model.parameters())
    assert first.is_contiguous(memory_format=torch.channels_last)
    trainer.train(1)
    assert layouts.seen == {"train": True, "val": True}
    usual = Layouts()
    plain = conv_trainer([usual])
    plain.train(1)
    assert usual.seen == {"train": False, "val": False}
    for one, other in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


class Counted:
    """A backend of torch.compile that counts what it compiles."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        self.graphs += 1
        return graph.forward


def test_the_network_is_compiled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Counted()
    hook = CompileHook("eager")
    monkeypatch.setattr(hook, "backend", backend)
    path = tmp_path / "checkpoint.pth"
    trainer = toy_trainer([hook, EMAHook(0.5), SaveAt(4, path)], dropout=0.0)
    names = list(trainer.model.state_dict())
    values = trainer.train(1)
    assert backend.graphs >= 2, "training and evaluation"
    assert list(read_checkpoint(path)["networks"]["model"]) == names
    plain = toy_trainer([EMAHook(0.5)], dropout=0.0)
    assert plain.train(1) == values
    for one, other in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.long
def test_the_usual_backend_gives_the_same_numbers() -> None:
    compiled, plain = conv_trainer([CompileHook()]), conv_trainer([])
    compiled.train(2)
    plain.train(2)
    for one, other in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_torch_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="backend is 'fast'; here there is"):
        CompileHook("fast")
    with pytest.raises(UserError, match="mode is 'quick'"):
        CompileHook(mode="quick")  # type: ignore[arg-type]
