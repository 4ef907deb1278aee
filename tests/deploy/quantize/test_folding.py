"""BatchNorm goes into the layers before it, and what the network computes stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Deployable, captured
from cvtrainer.deploy.quantize.folding import folded
from cvtrainer.deploy.quantize.layers import kind_of
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme


class Shared(nn.Module):
    """One convolution on maps of three sizes, a norm for each, as the head of a detector."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        maps = (x, x[:, :, ::2, ::2], x[:, :, ::4, ::4])
        made = [norm(self.layer(one)) for one, norm in zip(maps, self.norms, strict=True)]
        return torch.cat([one.relu().flatten(2) for one in made], dim=2)


class Again(nn.Module):
    """The same layers twice, up and down."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.last = nn.Linear(4, 4)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for norm in self.norms:
            x = norm(self.up(x)).relu()
        return self.last(self.last(x.mean((2, 3))))


class Skipped(nn.Module):
    """What was there before a norm is read once more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        made = self.layer(x)
        return self.norm(made) + made


class Grouped(nn.Module):
    """Transposed convolutions of several groups, one of them for each channel alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.ConvTranspose2d(4, 8, 2, stride=2, groups=2), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8), nn.BatchNorm2d(8)),
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        return made


class Computed(nn.Module):
    """Weights that are computed of parameters: normed, and standardised."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
        self.second = nn.Conv2d(4, 4, 3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.first(x)).relu()
        weight = self.second.weight
        weight = weight - weight.mean((1, 2, 3), keepdim=True)
        made: Tensor = self.norms[1](nn.functional.conv2d(x, weight, self.second.bias))
        return made


@pytest.mark.parametrize("kind", [Shared, Again, Skipped, Grouped, Computed])
def test_folding_changes_nothing_even_of_layers_that_are_used_twice(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = kind()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.weight, part.bias):
                assert tensor is not None
                nn.init.normal_(tensor)
            nn.init.uniform_(part.running_var, 0.5, 2)  # type: ignore[arg-type]
    network.eval()
    x = torch.randn(2, 4, 8, 8)
    program = captured(Deployable(network, lambda one: {"y": network(one)}, ["y"]), x)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    module = folded(program)
    assert not any("norm" in kind_of(node) for node in module.graph.nodes)
    with torch.no_grad():
        assert torch.allclose(module(x)[0], network(x), atol=1e-5)
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())


class Places(nn.Module):
    """As many places as features: the norm is for the places."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.layer(x.mean(3)[:, :, :4]))
        return made


def test_norms_that_are_not_for_what_a_layer_makes_stay() -> None:
    network = Places().eval()
    assert network.norm.running_mean is not None
    nn.init.normal_(network.norm.running_mean)
    x = torch.randn(2, 4, 8, 8)
    program = captured(Deployable(network, lambda one: {"y": network(one)}, ["y"]), x)
    with torch.no_grad():
        assert torch.allclose(folded(program)(x)[0], network(x), atol=1e-6)


def test_what_cannot_be_rounded_is_one_line() -> None:
    pytest.importorskip("torchao")
    network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    x = torch.randn(2, 4, 8, 8)
    program = captured(Deployable(network, lambda one: {"y": network(one)}, ["y"]), x)
    with pytest.raises(UserError, match="cannot round this network"):
        quantised(program, [x], Scheme())
