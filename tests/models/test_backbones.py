"""Backbones by name: channels, stems for other than three colours, names that do not exist."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones import (
    ResNet18,
    ResNet50,
    SmallCNN,
    TimmBackbone,
    TimmPyramid,
    TorchvisionPyramid,
)
from cvtrainer.models.backbones.from_torchvision import TorchvisionBackbone
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.parts import Pyramid
from cvtrainer.ops.stem import fitted_filters


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
    shared = fitted_filters(torch.arange(3.0).view(1, 3, 1, 1), 4).flatten()
    assert shared.tolist() == [0.0, 1.0, 2.0, 0.0], "red is shared by two channels, and was 0"
    colours = torch.tensor([6.0, 4.0, 2.0]).view(1, 3, 1, 1)
    assert fitted_filters(colours, 7).flatten().tolist() == [2.0, 2.0, 1.0, 2.0, 2.0, 1.0, 2.0]
    for channels, each in ((1, 12.0), (2, 6.0)):
        few = fitted_filters(colours, channels)
        assert few.flatten().tolist() == [each] * channels
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


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize("name", ["timm", "timm_pyramid", "torchvision", "torchvision_pyramid"])
def test_any_input_channels_for_networks_by_name(name: str, channels: int) -> None:
    """timm's and torchvision's alike; the others are made for theirs."""
    made = {
        "timm": lambda: TimmBackbone("resnet10t", channels),
        "timm_pyramid": lambda: TimmPyramid("resnet10t", [8, 32], channels),
        "torchvision": lambda: TorchvisionBackbone("resnet18", in_channels=channels),
        "torchvision_pyramid": lambda: TorchvisionPyramid("resnet18", [8, 32], channels),
    }[name]().eval()
    assert made.in_channels == channels
    outputs = made(torch.randn(1, channels, 64, 64))
    last = outputs[-1] if name.endswith("pyramid") else outputs
    assert last.shape[1] == made.out_channels == 512


def test_maps_of_a_torchvision_network_are_what_its_blocks_give() -> None:
    from torchvision.models import resnet18

    theirs, ours = resnet18(weights=None).eval(), TorchvisionPyramid("resnet18", [4, 8, 32]).eval()
    kept = {f"network.{name}": one for name, one in theirs.state_dict().items()}
    ours.load_state_dict({name: one for name, one in kept.items() if ".fc." not in name})
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        first = theirs.layer1(before)
        second = theirs.layer2(first)
        last = theirs.layer4(theirs.layer3(second))
        assert all(map(torch.equal, ours(x), (first, second, last)))
    shorter = TorchvisionPyramid("resnet18", [4])
    assert not any("layer2" in name for name in shorter.state_dict()), "nothing behind the last map"
    assert shorter.pyramid == Pyramid((64,), (4,))
