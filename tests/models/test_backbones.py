"""Backbones by name: channels, stems for other than three colours, names that do not exist."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones import ResNet18, ResNet50, SmallCNN, TimmBackbone
from cvtrainer.models.backbones.from_torchvision import TorchvisionBackbone
from cvtrainer.models.backbones.stem import fit_stem


@pytest.mark.seed("S0-69")
def test_a_resnet_is_torchvisions_up_to_the_pooling() -> None:
    from torchvision.models import resnet18

    theirs = resnet18(weights=None).eval()
    ours = ResNet18().eval()
    kept = {name: value for name, value in theirs.state_dict().items() if "fc." not in name}
    ours.load_state_dict(kept)
    x = torch.randn(2, 3, 64, 64)
    theirs.fc = nn.Identity()
    with torch.no_grad():
        features = ours(x)
        torch.testing.assert_close(features.mean(dim=(2, 3)), theirs(x))
    assert features.shape == (2, 512, 2, 2)


@pytest.mark.seed("S0-69")
def test_depth_and_stem_of_resnets() -> None:
    assert ResNet50().out_channels == 2048
    small = ResNet18(in_channels=1, small_images=True).eval()
    assert small(torch.randn(1, 1, 32, 32)).shape == (1, 512, 4, 4)


def test_small_cnn_halves_its_maps_and_doubles_its_channels() -> None:
    network = SmallCNN(width=8, depth=3, in_channels=1)
    assert network(torch.randn(2, 1, 28, 28)).shape == (2, 32, 7, 7)
    assert network.out_channels == 32
    assert SmallCNN(width=5, depth=1)(torch.randn(1, 3, 8, 8)).shape == (1, 5, 8, 8)
    repeated = SmallCNN(width=8, depth=3, repeats=2)
    assert repeated(torch.randn(2, 3, 12, 12)).shape == (2, 32, 3, 3)
    convolutions = [one for one in repeated.modules() if isinstance(one, torch.nn.Conv2d)]
    assert [one.out_channels for one in convolutions] == [8, 16, 16, 32, 32]


@pytest.mark.parametrize(
    ("name", "channels"),
    [("squeezenet1_1", 512), ("shufflenet_v2_x0_5", 1024), ("mnasnet0_5", 1280)],
)
def test_torchvision_networks_by_name(name: str, channels: int) -> None:
    network = TorchvisionBackbone(name, in_channels=1).eval()
    assert network.out_channels == channels
    assert network(torch.randn(2, 1, 64, 64)).shape == (2, channels)


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet10t", 512), ("mobilenetv3_small_050", 1024)]
)
def test_timm_networks_by_name(name: str, channels: int) -> None:
    network = TimmBackbone(name, in_channels=2).eval()
    assert network.out_channels == channels
    assert network(torch.randn(2, 2, 64, 64)).shape == (2, channels)


def test_a_fitted_stem_answers_to_grey_as_before() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    grey = torch.randn(1, 1, 8, 8)
    expected = network(grey.expand(1, 3, 8, 8))
    fit_stem(network, 1)
    torch.testing.assert_close(network(grey), expected)
    fit_stem(network, 5)
    torch.testing.assert_close(network(grey.expand(1, 5, 8, 8)), expected)
    with pytest.raises(UserError, match="no convolution"):
        fit_stem(nn.Sequential(nn.Linear(2, 2)), 1)
    with pytest.raises(UserError, match="in_channels is 0"):
        fit_stem(network, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TorchvisionBackbone("mobilenet_v3_smal"), "Did you mean mobilenet_v3_small?"),
        (lambda: TorchvisionBackbone("fcn_resnet50"), "no classification network 'fcn_resnet50'"),
        (lambda: ResNet18(weights="NOT_THERE"), "no weights 'NOT_THERE' for resnet18"),
        (lambda: TimmBackbone("resnet10x"), "timm has no network 'resnet10x'"),
    ],
)
def test_names_that_do_not_exist(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UserError) as caught:
        make()
    assert message in str(caught.value)
