"""Operators rounded one by one, and those that suffer are found."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.sensitivity import sensitivities
from tests.deploy.quantize.test_ptq import Small, away, program_of, sample


def harmed() -> nn.Sequential:
    """The second layer has channels of very different sizes, and the third makes up for it."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16, affine=False),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1),
    )
    with torch.no_grad():
        scale = 10 ** torch.linspace(-2, 1, 16)
        network[2].weight *= scale.view(-1, 1, 1, 1)
        network[5].weight /= scale.view(1, -1, 1, 1)
    return network


def test_every_operator_that_is_rounded_has_a_row_and_views_have_none() -> None:
    torch.manual_seed(0)
    rows = sensitivities(program_of(Small()), sample(), Scheme())
    assert [one.decibels for one in rows] == sorted(one.decibels for one in rows)
    told = {one.name: one.nodes for one in rows}
    assert told["stem.0 (conv2d)"] == ("conv2d", "relu")  # rounded once, after the clamp
    assert told["head (linear)"] == ("linear",)
    assert "the network's own forward (add)" in told
    assert not any("max_pool" in name or "softmax" in name for name in told)
    assert all(20 < one.decibels < 150 for one in rows)


def test_the_layers_that_suffer_are_first_and_left_float_they_help() -> None:
    program = program_of(harmed())
    scheme = Scheme(per_channel=False)
    rows = sensitivities(program, sample(), scheme)
    assert {one.path for one in rows[:2]} == {"2", "5"}
    assert rows[-1].decibels - rows[0].decibels > 10
    chosen = frozenset(node for one in rows[:2] for node in one.nodes)
    rounded = away(program, quantised(program, sample(), scheme))
    spared = quantised(program, sample(), Scheme(per_channel=False, float_operators=chosen))
    assert away(program, spared) < 0.5 * rounded


def test_layers_that_stay_float_have_no_row() -> None:
    torch.manual_seed(0)
    rows = sensitivities(program_of(Small()), sample(), Scheme(float_layers=frozenset({"gate"})))
    assert not any(one.path.startswith("gate") for one in rows)


def test_a_shared_layer_and_several_outputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.body(torch.relu(self.body(x))))
            return self.head(x.mean((2, 3)))

    rows = sensitivities(program_of(Twice()), sample(), Scheme())
    assert sum(one.path == "body" for one in rows) == 2
