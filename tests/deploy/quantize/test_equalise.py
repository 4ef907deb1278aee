"""Weights shared out between neighbours, and biases that take back what rounding shifts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.quantize.equalise import equalise, pairs_of
from cvtrainer.deploy.quantize.folding import folded
from cvtrainer.deploy.quantize.layers import tensor_at, weight_node
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme


class Row(nn.Module):
    """Pairs of every kind: depthwise, grouped, over a pooling, over a mean into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.three = nn.Conv2d(8, 12, 1, groups=2, bias=False)
        self.six = nn.ReLU6()
        self.four = nn.Conv2d(12, 8, 1)
        self.five = nn.Conv2d(8, 8, 1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 6)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.one(x)))
        x = self.six(self.three(torch.relu(self.two(x))))
        x = nn.functional.max_pool2d(torch.relu(self.four(x)), 2)
        y = nn.functional.hardswish(self.five(x))
        y = y + self.shared(torch.relu(self.shared(y)))
        pooled = nn.functional.adaptive_avg_pool2d(torch.relu(y), 1).flatten(1)
        return self.last(torch.relu(self.head(pooled)))


def program_of(network: nn.Module, side: int = 8) -> Program:
    def compute(x: Tensor) -> dict[str, Tensor]:
        return {"output": network(x)}

    return captured(Deployable(network, compute, ("output",)), torch.rand(2, 3, side, side))


def wild(network: nn.Module, seed: int = 0) -> nn.Module:
    """Output channels of all layers with scales from 1/10 to 10."""
    draw = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            scale = 10 ** (2 * torch.rand(len(module.weight), generator=draw) - 1)
            module.weight.data *= scale.view(-1, *[1] * (module.weight.ndim - 1))
            if module.bias is not None:
                module.bias.data *= scale
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.2, 3.0, generator=draw)
            module.running_mean.uniform_(-1.0, 1.0, generator=draw)
    return network


def sample() -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.rand(16, 3, 8, 8, generator=draw) for _ in range(2)]


@pytest.fixture
def row() -> Program:
    torch.manual_seed(0)
    return program_of(wild(Row()))


def test_pairs_end_at_what_scales_do_not_go_through(row: Program) -> None:
    assert equalise(folded(row)) == [
        "one -> two",
        "two -> three",
        "four -> five",
        "shared -> shared",
        "head -> last",
    ]


class Tied(nn.Module):
    """A linear layer along the width, which happens to be as long as there are channels."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.wide = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(torch.relu(self.one(x)))


def test_a_linear_layer_along_another_axis_is_no_partner() -> None:
    torch.manual_seed(0)
    assert pairs_of(folded(program_of(wild(Tied())))) == []


def test_the_function_stays_and_the_trained_network_is_not_touched(row: Program) -> None:
    x = torch.cat(sample())
    before = {name: one.clone() for name, one in row.module.state_dict().items()}
    with torch.no_grad():
        true = row.exported.module()(x)[0]
        module = folded(row)
        equalise(module)
        made = module(x)[0]
    assert float((made - true).abs().max() / true.abs().max()) < 1e-5
    assert all(torch.equal(one, before[name]) for name, one in row.module.state_dict().items())
    with torch.no_grad():
        assert torch.equal(row.exported.module()(x)[0], true)


def test_channels_of_a_pair_become_equally_large(row: Program) -> None:
    module = folded(row)
    equalise(module)
    pairs = pairs_of(module)
    first, second = (tensor_at(module, weight_node(one)).detach() for one in pairs[0])
    leaving, entering = first.flatten(1).abs().amax(1), second.flatten(1).abs().amax(1)
    assert torch.allclose(leaving, entering, rtol=0.01)
    assert len(pairs) == 5


def away(program: Program, scheme: Scheme) -> Tensor:
    """By how much each score of each picture differs, in units of the scores' spread."""
    x = torch.cat(sample())
    with torch.no_grad():
        true = program.exported.module()(x)[0]
        made = quantised(program, sample(), scheme).exported.module()(x)[0]
    return (made - true) / true.std()


def test_one_scale_a_tensor_suffices_after_it() -> None:
    """Channels made large by one layer and small by the next, as training may leave them."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1),
    )
    with torch.no_grad():
        for at, scale in ((0, 10 ** torch.linspace(-2, 1, 16)), (2, 10 ** torch.rand(16))):
            network[at].weight *= scale.view(-1, 1, 1, 1)
            network[at].bias *= scale
            after = network[at + 2].weight
            after /= scale.view(-1, 1, 1, 1) if at == 0 else scale.view(1, -1, 1, 1)
    program = program_of(network)
    plain = away(program, Scheme(per_channel=False)).square().mean()
    better = away(program, Scheme(per_channel=False, equalise=True)).square().mean()
    assert better < 0.1 * plain


@pytest.mark.parametrize("per_channel", [True, False])
def test_corrected_biases_give_the_means_of_the_float_network(per_channel: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Hardswish(),
        nn.Conv2d(8, 4, 1, bias=False),
    )
    program = program_of(wild(network))
    plain = away(program, Scheme(per_channel=per_channel))
    fixed = away(program, Scheme(per_channel=per_channel, correct_bias=True))
    places = (0, 2, 3)
    assert fixed.mean(places).abs().mean() < 0.3 * plain.mean(places).abs().mean()


def test_a_program_of_one_picture_at_a_time_is_corrected_too() -> None:
    torch.manual_seed(0)
    network = wild(Row())

    def compute(x: Tensor) -> dict[str, Tensor]:
        return {"output": network(x)}

    module = Deployable(network, compute, ("output",))
    one = captured(module, torch.rand(1, 3, 8, 8), any_batch=False)
    made = quantised(one, sample(), Scheme(correct_bias=True, equalise=True))
    assert made.exported.module()(torch.rand(1, 3, 8, 8))[0].shape == (1, 4)
