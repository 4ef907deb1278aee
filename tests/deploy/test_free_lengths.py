"""Lengths that differ from sample to sample stay free in a captured program."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Deployable, Program, captured


class Mean(nn.Module):
    """Of what two convolutions, the second of which halves the length, make along time."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 3, 3, stride=2, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x.transpose(1, 2)).mean(dim=2)
        return made


def program(network: nn.Module, *free: int) -> Program:
    module = Deployable(network, lambda x: {"output": network(x)}, ["output"])
    return captured(module, torch.randn(2, 9, 2), free=free)


def test_a_length_is_free_and_stays_so_in_narrower_forms() -> None:
    network = Mean().eval()
    found = program(network, 1)
    assert found.input.shape == (None, None, 2)
    assert found.outputs[0].shape == (None, 3)
    for form, count in ((found, 3), (found.narrowed(["output"], any_batch=False), 1)):
        x = torch.randn(count, 20, 2)
        assert torch.allclose(form.exported.module()(x)[0], network(x), atol=1e-6)
    assert program(network).input.shape == (None, 9, 2)


def test_a_network_that_fixes_the_length_is_told() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 3)).eval()
    with pytest.raises(UserError, match=r"inputs of one length \(9\)"):
        program(network, 1)


def test_outputs_that_follow_the_length_say_so() -> None:
    network = nn.Linear(2, 3).eval()
    assert program(network, 1).outputs[0].shape == (None, None, 3)
