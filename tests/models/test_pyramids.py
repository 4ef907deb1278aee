"""Maps of several sizes: who gives them, who takes them, what is said where that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models import BaseModel
from cvtrainer.models.adapters import FPN, PAN, UNetDecoder
from cvtrainer.models.backbones import EdgeNet, SmallCNN, TimmPyramid, TorchvisionPyramid
from cvtrainer.models.heads import (
    DetectionHead,
    EachPlace,
    HeatmapHead,
    MaskHead,
    Multiclass,
    Regression,
)
from cvtrainer.models.parts import Backbone, Pyramid


def parameters(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def test_sizes_are_as_promised() -> None:
    assert 0.9e6 < parameters(EdgeNet()) < 1.1e6
    small = BaseModel(EdgeNet(0.5, taps=[8, 16, 32]), PAN(32), DetectionHead(20))
    usual = BaseModel(EdgeNet(taps=[8, 16, 32]), PAN(64), DetectionHead(20))
    assert parameters(small) < 0.45e6
    assert parameters(usual) < 1.6e6


def test_taps_give_maps_at_their_strides() -> None:
    backbone = EdgeNet(taps=[4, 16])
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [one.shape[-2:] for one in maps] == [(16, 24), (4, 6)]
    assert backbone.pyramid == Pyramid((32, 128), (4, 16))
    assert len(backbone.stages) == 4, "what lies behind the last tap is not made"
    grey = EdgeNet(in_channels=1)(torch.randn(1, 1, 64, 64))
    assert isinstance(grey, Tensor)
    assert grey.shape == (1, 192, 2, 2)


def test_an_fpn_tells_finer_maps_and_a_pan_tells_back() -> None:
    """Which maps change when one of the backbone's does."""
    levels = Pyramid((4, 4, 4), (8, 16, 32))
    for adapter, expected in ((FPN(8), [[0], [0, 1], [0, 1, 2]]), (PAN(8), [[0, 1, 2]] * 3)):
        adapter.connect(levels)
        adapter.eval()
        maps = [torch.rand(1, 4, size, size) for size in (8, 4, 2)]
        before = adapter(maps)
        for place, reached in enumerate(expected):
            changed = list(maps)
            changed[place] = maps[place] + 1
            after = adapter(changed)
            assert [
                level for level in range(3) if not torch.equal(before[level], after[level])
            ] == reached


def test_odd_sizes_fit_together() -> None:
    model = BaseModel(EdgeNet(0.5, taps=[4, 8, 16]), UNetDecoder(16), MaskHead(2))
    assert model(torch.randn(1, 3, 40, 56)).shape == (1, 2, 40, 56)
    points = BaseModel(EdgeNet(0.5, taps=[4, 8]), FPN(16), HeatmapHead(3))
    assert points(torch.randn(1, 3, 40, 56)).shape == (1, 3, 10, 14)


def test_a_detector_knows_its_places() -> None:
    model = BaseModel(EdgeNet(0.5, taps=[8, 16]), FPN(16), DetectionHead(2, bins=8)).eval()
    found = model(torch.randn(2, 3, 32, 48))
    assert found["scores"].shape == (2, 4 * 6 + 2 * 3, 2)
    assert found["distances"].shape == (2, 30, 32)
    assert found["anchors"][0].tolist() == [4.0, 4.0, 8.0]
    assert found["anchors"][-1].tolist() == [40.0, 24.0, 16.0]
    assert found["scores"].sigmoid().mean() < 0.05, "silent before it has learnt anything"


@pytest.mark.seed("S0-68")
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: BaseModel(SmallCNN(), PAN(8), MaskHead(2)), "PAN takes maps of several sizes"),
        (lambda: BaseModel(EdgeNet(taps=[8]), None, Multiclass(3)), "EdgeNet gives maps of 1"),
        (
            lambda: BaseModel(EdgeNet(taps=[8, 16]), None, DetectionHead(3)),
            "maps of equal channels",
        ),
        (lambda: EdgeNet(taps=[8, 7]), r"taps is \[8, 7\]"),
        (lambda: EdgeNet(taps=[16, 8]), "from the finest to the coarsest"),
        (lambda: EdgeNet(width=0), "width is 0"),
        (lambda: TimmPyramid("mobilenetv3_smal_050"), "Did you mean mobilenetv3_small_050"),
        (lambda: TimmPyramid("mobilenetv3_small_050", taps=[64]), "has maps at"),
        (lambda: TimmPyramid("vit_tiny_patch16_224", taps=[8]), "maps"),
        (lambda: DetectionHead(0), "num_classes is 0"),
        (lambda: FPN(0), "FPN: out_channels is 0"),
    ],
)
def test_what_does_not_fit_is_told(make: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: TimmPyramid("test_mambaout", taps=[8, 16]),
        lambda: TorchvisionPyramid("swin_t", taps=[8, 16]),
    ],
    ids=["timm", "torchvision"],
)
def test_maps_of_networks_with_channels_last_come_with_channels_first(
    make: Callable[[], Backbone],
) -> None:
    network = make()
    maps = network(torch.zeros(1, 3, 64, 32))
    assert network.pyramid is not None
    assert [tuple(one.shape[1:]) for one in maps] == [
        (width, 64 // tap, 32 // tap)
        for width, tap in zip(network.pyramid.channels, (8, 16), strict=True)
    ]


@pytest.mark.parametrize(
    ("adapter", "channels"), [(None, 48), (lambda: FPN(8), 8), (lambda: PAN(8), 8)]
)
def test_beside_others_heads_for_vectors_get_the_coarsest_map(
    adapter: Callable[[], nn.Module] | None, channels: int
) -> None:
    backbone = EdgeNet(0.25, depth=0.5, taps=[8, 16, 32])
    kind, number = Multiclass(3), Regression()
    heads = {"shapes": MaskHead(2), "kind": kind, "number": number}
    model = BaseModel(backbone, adapter and adapter(), heads).eval()
    x = torch.randn(2, 3, 64, 64)
    made = model(x)
    assert made["shapes"].shape == (2, 2, 64, 64)
    assert kind.in_channels == number.in_channels == channels
    coarsest = model.adapter(backbone(x))[-1]
    torch.testing.assert_close(made["kind"], kind(coarsest))
    torch.testing.assert_close(made["number"], number(coarsest))


def test_past_a_decoder_of_finer_maps_they_get_the_backbones() -> None:
    backbone = EdgeNet(0.25, depth=0.5, taps=[4, 8, 16])
    kind = Multiclass(3)
    model = BaseModel(backbone, UNetDecoder(8), {"kind": kind, "shapes": MaskHead(2)}).eval()
    x = torch.randn(2, 3, 32, 32)
    made = model(x)
    torch.testing.assert_close(made["kind"], kind(backbone(x)[-1]))
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x)["kind"], made["kind"])


def test_only_heads_that_pool_get_one_map() -> None:
    backbone = EdgeNet(0.25, depth=0.5, taps=[8, 16])
    with pytest.raises(UserError, match="FPN gives maps of 2 sizes and EachPlace takes one"):
        BaseModel(backbone, FPN(8), {"shapes": MaskHead(2), "places": EachPlace(2)})
    with pytest.raises(UserError, match="FPN gives maps of 2 sizes and Multiclass takes one"):
        BaseModel(backbone, FPN(8), Multiclass(2))
    with pytest.raises(UserError, match="FPN gives 8 channels and Multiclass takes 9"):
        BaseModel(backbone, FPN(8), {"shapes": MaskHead(2), "kind": Multiclass(2, in_channels=9)})
