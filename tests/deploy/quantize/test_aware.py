"""Networks that train with rounding: modes switch, ranges rest, and conversion changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torchao")

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.aware import make_aware
from cvtrainer.deploy.quantize.aware_torchao import GraphRounding
from cvtrainer.deploy.quantize.scheme import Scheme

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """Norms with a factor of zero and one below, a bias before a norm, dropout twice, a join."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU6())
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.BatchNorm2d(6, eps=1e-3)
        self.alone = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            self.stem[1].weight[:2] = torch.tensor([0.0, -2.0])
            self.norm.weight[:2] = torch.tensor([-0.5, 0.01])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        x = self.alone(x + nn.functional.hardswish(self.norm(self.depthwise(x))))
        x = nn.functional.dropout(x.mean((2, 3)), 0.1, self.training)
        return {"scores": self.head(self.drop(x))}


@pytest.fixture(scope="module")
def trained() -> tuple[Net, GraphRounding]:
    """Some steps of training; what a test changes it brings back."""
    torch.manual_seed(0)
    network = Net()
    room = make_aware(network, SHAPE, Scheme())
    assert isinstance(room, GraphRounding)
    network.eval()
    room.watch()
    network(pictures(8))
    room.settle("max")
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    for seed in range(5):
        optimiser.zero_grad()
        network(pictures(8, seed))["scores"].square().mean().backward()
        optimiser.step()
    return network.eval(), room


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_names_stay_and_everything_learns(trained: tuple[Net, GraphRounding]) -> None:
    network, _ = trained
    own = set(Net().state_dict())
    added = set(network.state_dict()) - own
    assert own < set(network.state_dict())
    assert all(name.startswith("rounding.") for name in added)
    assert {name for name, _ in network.named_parameters()} == {
        name for name, _ in Net().named_parameters()
    }
    network.zero_grad()
    network(pictures(4))["scores"].sum().backward()
    assert all(one.grad is not None for one in network.parameters())


@pytest.mark.seed("S4-16", "S4-40")
def test_what_comes_out_is_rounded_to_at_most_256_levels(
    trained: tuple[Net, GraphRounding],
) -> None:
    network, room = trained
    with torch.no_grad():
        scores = network(pictures(400))["scores"]
    scale, _ = room.linear.calculate_qparams()
    assert 1 < len(scores.unique()) <= 256
    assert torch.allclose(scores / scale, (scores / scale).round(), atol=1e-3)


def test_modes_switch_as_in_the_network_itself(trained: tuple[Net, GraphRounding]) -> None:
    network, room = trained
    before = copied(network)
    x = pictures(6, 1)
    assert torch.equal(network(x)["scores"], network(x)["scores"])
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    network.train()
    assert not torch.equal(network(x)["scores"], network(x)["scores"])
    assert int(network.norm.num_batches_tracked) == int(before["norm.num_batches_tracked"]) + 2
    assert not torch.equal(network.norm.running_mean, before["norm.running_mean"])
    assert not torch.equal(room.x.ends, before["rounding.x.ends"])
    room.hold(ranges=True, norms=True)
    held = copied(network)
    network(x)
    room.hold(ranges=False, norms=False)
    assert all(torch.equal(one, held[name]) for name, one in network.state_dict().items())
    network.load_state_dict(before)
    network.eval()


@pytest.mark.seed("S4-84")
def test_the_converted_graph_gives_the_same_numbers(trained: tuple[Net, GraphRounding]) -> None:
    network, room = trained
    before = copied(network)
    made = room.converted(SHAPE)
    with torch.no_grad():
        x = pictures(64, 2)
        mine, theirs = network(x)["scores"], made(x)["scores"]
    scale, _ = room.linear.calculate_qparams()
    # One step where a sum in other order falls on the other side of a half, and only rarely.
    assert float((mine - theirs).abs().max()) <= float(scale) * 1.01
    assert float((mine != theirs).float().mean()) < 0.02
    kinds = {str(one.dtype) for one in made.state_dict().values()}
    assert "torch.int8" in kinds
    called = [one for one in made.modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(called) == 1  # behind a join there is no layer to fold it into
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


def test_pictures_of_another_size_share_the_rounding(trained: tuple[Net, GraphRounding]) -> None:
    network, _ = trained
    names = list(network.state_dict())
    with torch.no_grad():
        assert network(torch.rand(2, 3, 12, 10))["scores"].shape == (2, 4)
    assert list(network.state_dict()) == names


def test_no_range_no_numbers() -> None:
    room = make_aware(nn.Sequential(nn.Conv2d(3, 2, 1)), SHAPE, Scheme())
    with pytest.raises(UserError, match="ranges of this network are not known"):
        room.converted(SHAPE)
    with pytest.raises(UserError, match="ranges of this network are not known"):
        room.network(pictures(1))


class TwoFaces(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return x.tanh() if self.training else x


def test_what_differs_in_training_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"TwoFaces computes otherwise in training .*tanh"):
        make_aware(TwoFaces(), SHAPE, Scheme())


class SharedNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.norm(self.first(x))))


def test_a_norm_in_two_places_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"the norm norm is called 2 times"):
        make_aware(SharedNorm(), SHAPE, Scheme())


def test_more_than_one_input_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    make_aware(network, SHAPE, Scheme())
    with pytest.raises(UserError, match="only one that takes one tensor"):
        network.forward(pictures(1), pictures(1))


class Shared(nn.Module):
    """One layer for two maps, with a norm for each, as heads of detectors have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))
        with torch.no_grad():
            self.norms[0].weight.mul_(3)
            self.norms[1].running_mean.fill_(0.4)

    def forward(self, x: Tensor) -> Tensor:
        for norm in self.norms:
            x = norm(self.layer(x)).relu()
        return x


def test_a_layer_that_is_called_twice_has_each_norm_once() -> None:
    torch.manual_seed(0)
    network = Shared().eval()
    room = make_aware(network, SHAPE, Scheme())
    room.watch()
    network(pictures(16))
    room.settle("max")
    with torch.no_grad():
        mine, theirs = network(pictures(8)), room.converted(SHAPE)(pictures(8))
    assert float((mine - theirs).abs().max()) <= float(room.relu_1.calculate_qparams()[0]) * 1.01


def test_parts_stay_float_where_asked() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    make_aware(network, SHAPE, Scheme(float_layers=frozenset({"2"})))
    assert len([name for name in network.state_dict() if name.endswith(".ends")]) == 2


class NormAct(nn.BatchNorm2d):
    """A norm with an activation behind it, in one module, as timm has them."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.hardswish(super().forward(x), inplace=True)


def test_a_norm_that_does_more_does_it_once() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), NormAct(8), nn.Conv2d(8, 4, 3))
    names, x = list(network.state_dict()), torch.rand(8, 3, 16, 16)
    room = make_aware(network, (3, 16, 16), Scheme())
    assert [name for name in network.state_dict() if not name.startswith("rounding.")] == names
    network.train()
    room.watch()
    network(x)
    room.settle("max")
    network(x).square().mean().backward()
    assert all(one.grad is not None for one in network.parameters())
    network.eval()
    with torch.no_grad():
        made = network(x)
        with room.in_floats():
            true = network(x)
        converted = room.converted((3, 16, 16))(x)
    assert float((made - true).abs().max()) < 0.05 * float(true.abs().max())
    torch.testing.assert_close(converted, made, rtol=0, atol=1e-5)
