"""Three parts make one model; channels are handed over and mismatches name both sides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.models import Adapter, Backbone, BaseModel, Head
from cvtrainer.models.adapters import Conv, Identity, Linear
from cvtrainer.models.backbones import SmallCNN
from cvtrainer.models.heads import Multiclass, MultiLabel


def small() -> SmallCNN:
    return SmallCNN(width=4, depth=2)


@pytest.mark.seed("S0-67")
def test_a_model_is_head_of_adapter_of_backbone() -> None:
    backbone, adapter, head = small(), Conv(6), Multiclass(3)
    model = BaseModel(backbone, adapter, head).eval()
    assert (model.backbone, model.adapter, model.head) == (backbone, adapter, head)
    x = torch.randn(2, 3, 8, 8)
    output = model(x)
    assert torch.equal(output, head(adapter(backbone(x))))
    assert output.shape == (2, 3)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"backbone", "adapter", "head"}


@pytest.mark.seed("S0-67")
def test_own_parts_from_the_base_classes() -> None:
    class Mean(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.out_channels = 3

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3))

    class Twice(Adapter):
        def make_layers(self, channels: int) -> None:
            self.out_channels = 2 * channels

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat((x, x), dim=1)

    class Sum(Head):
        def make_layers(self, channels: int) -> None:
            self.weight = nn.Parameter(torch.ones(channels))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * self.weight).sum(dim=1)

    model = BaseModel(Mean(), Twice(), Sum())
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(model(x), 2 * x.mean(dim=(2, 3)).sum(dim=1))
    assert model.head.weight.shape == (6,)


@pytest.mark.seed("S0-68")
@pytest.mark.parametrize(
    ("adapter", "channels"),
    [(None, 8), (Identity, 8), (lambda: Conv(5), 5), (lambda: Linear(6), 6)],
)
def test_channels_are_handed_over(adapter: Any, channels: int) -> None:
    model = BaseModel(small(), adapter and adapter(), Multiclass(3))
    assert model.backbone_channel == 8
    assert model.head_channel == channels
    assert isinstance(model.adapter, Adapter)
    assert model.adapter.backbone_channel == 8
    assert model.adapter.head_channel == channels
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.seed("S0-68")
@pytest.mark.parametrize(
    ("adapter", "head", "message"),
    [
        (
            Identity(),
            Multiclass(3, in_channels=9),
            "Identity gives 8 channels and Multiclass takes 9",
        ),
        (Conv(5, in_channels=4), Multiclass(3), "SmallCNN gives 8 channels and Conv takes 4"),
        (Linear(5), MultiLabel(3, in_channels=8), "Linear gives 5 channels and MultiLabel takes 8"),
        (Conv(5), nn.Linear(6, 2), "Conv gives 5 channels and Linear takes 6"),
        (nn.Conv2d(3, 5, 1), Multiclass(2), "SmallCNN gives 8 channels and Conv2d takes 3"),
    ],
)
def test_a_mismatch_names_both_sides(adapter: nn.Module, head: nn.Module, message: str) -> None:
    with pytest.raises(UserError) as caught:
        BaseModel(small(), adapter, head)
    assert message in str(caught.value)


def test_parts_given_their_channels_fit_as_well() -> None:
    model = BaseModel(small(), Conv(5, in_channels=8), Multiclass(3, in_channels=5))
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_plain_modules_may_stand_in_every_place() -> None:
    backbone = nn.Conv2d(3, 7, 1)
    model = BaseModel(backbone, nn.Conv2d(7, 5, 1), Multiclass(3))
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    silent = nn.Sequential(backbone)
    assert BaseModel(silent, None, nn.Conv2d(7, 2, 1))(torch.randn(2, 3, 8, 8)).shape[1] == 2
    with pytest.raises(UserError, match="Sequential does not say its out_channels"):
        BaseModel(silent, Conv(4), Multiclass(3))
    fitted = BaseModel(silent, Conv(4, in_channels=7), Multiclass(3))
    assert fitted.backbone_channel is None


def test_a_part_cannot_be_fitted_twice_to_different_channels() -> None:
    head = Multiclass(3)
    BaseModel(small(), None, head)
    BaseModel(small(), None, head)
    with pytest.raises(UserError, match="takes 8"):
        BaseModel(SmallCNN(width=4, depth=1), None, head)
    with pytest.raises(UserError, match="takes 8 channels and is given 4"):
        head.connect(4)


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(UserError, match="has no head"):
        BaseModel(small())


def test_probabilities() -> None:
    scores = torch.tensor([[0.0, 0.0], [2.0, -2.0]])
    exactly_one = Multiclass(2).probabilities(scores)
    torch.testing.assert_close(exactly_one.sum(dim=1), torch.ones(2))
    assert MultiLabel(2).probabilities(scores)[0].tolist() == [0.5, 0.5]


def test_dropout_of_the_head_acts_in_training_only() -> None:
    head = Multiclass(2, in_channels=50, dropout=0.5)
    x = torch.ones(1, 50)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Multiclass(0), "num_classes is 0"),
        (lambda: Conv(4, kernel_size=2), "odd number"),
        (lambda: SmallCNN(depth=0), "depth is 0"),
        (lambda: Multiclass(2, in_channels=3)(torch.zeros(2, 3, 4)), r"shape \[2, 3, 4\]"),
    ],
)
def test_wrong_arguments_are_told(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_without_an_adapter_a_mismatch_names_the_backbone() -> None:
    with pytest.raises(UserError, match="SmallCNN gives 8 channels and Multiclass takes 7"):
        BaseModel(small(), None, Multiclass(3, in_channels=7))
