"""Every registered part: forward, backward, state there and back, the same answer in evaluation."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.catalog import ADAPTERS, BACKBONES, HEADS, MODELS
from cvtrainer.core.locate import import_target
from cvtrainer.models import BaseModel
from cvtrainer.models.adapters import FPN
from cvtrainer.models.backbones import EdgeNet, SeriesNet, SmallCNN
from cvtrainer.models.heads import Multiclass

IMAGES = (2, 3, 32, 32)

EVERY: dict[str, dict[str, Any]] = {
    "backbone edge_net": {"width": 0.25, "depth": 0.5},
    "backbone graph_net": {"in_channels": 3, "width": 8, "pooling": "mean"},
    "backbone resnet18": {},
    "backbone resnet34": {},
    "backbone resnet50": {},
    "backbone series_net": {"in_channels": 3, "width": 4},
    "backbone small_cnn": {"width": 4, "depth": 3},
    "backbone table_net": {"numbers": 5, "categories": [4, 3], "width": 8},
    "backbone text_net": {"tokens": 20, "embedding": 6, "width": 4},
    "backbone timm": {"name": "mobilenetv3_small_050"},
    "backbone timm_pyramid": {"name": "mobilenetv3_small_050", "taps": [8, 32]},
    "backbone torchvision": {"name": "mobilenet_v3_small"},
    "adapter conv": {"out_channels": 6},
    "adapter fpn": {"out_channels": 8},
    "adapter identity": {},
    "adapter linear": {"out_channels": 6},
    "adapter pan": {"out_channels": 8},
    "adapter unet": {"out_channels": 8},
    "head detector": {"num_classes": 5, "bins": 4},
    "head each_place": {"num_classes": 5},
    "head heatmap": {"keypoints": 4},
    "head instances": {"num_classes": 5, "bins": 4, "prototypes": 4},
    "head mask": {"num_classes": 5},
    "head multi_label": {"num_classes": 5},
    "head multiclass": {"num_classes": 5},
    "head regression": {"values": 2},
    "model base_model": {},
    "model graph_model": {},
    "model picture_discriminator": {"size": 32, "width": 4},
    "model picture_generator": {"size": 16, "width": 4},
    "model sequence_model": {},
    "model table_model": {},
    "model vqvae": {"width": 8, "codes": 16, "code_width": 4},
}
"""Arguments with which each part is tried."""

SERIES, TEXTS = torch.randn(2, 32, 3), torch.randint(20, (2, 9))
ROWS = (torch.randn(2, 5), torch.tensor([[0, 2], [3, 1]]))
GRAPHS = (torch.randn(2, 6, 3), torch.rand(2, 6, 6))
INPUTS: dict[str, tuple[torch.Tensor, ...]] = {
    "backbone graph_net": GRAPHS,
    "backbone series_net": (SERIES,),
    "backbone table_net": ROWS,
    "backbone text_net": (TEXTS,),
    "head each_place": (SERIES,),
    "model graph_model": GRAPHS,
    "model picture_generator": (torch.randn(2, 64),),
    "model sequence_model": (SERIES,),
    "model table_model": ROWS,
}
"""What a part takes that takes no pictures."""

BELOW = {
    "graph_model": "graph_net",
    "sequence_model": "series_net",
    "table_model": "table_net",
}
"""The backbone in models of several inputs."""

OF_NO_SAMPLE = ("anchors", "vq", "perplexity", "codes")
"""Outputs that are not one value, with a gradient, for each sample."""

PYRAMIDS = ("fpn", "pan", "unet", "detector", "heatmap", "instances", "mask")
"""Parts that take maps of several sizes."""


def registered() -> list[str]:
    registries = (BACKBONES, ADAPTERS, HEADS, MODELS)
    return [f"{one.kind} {name}" for one in registries for name in one.names()]


def make(which: str) -> nn.Module:
    """The part, on top of a small backbone where it needs one."""
    kind, name = which.split()
    registry = {one.kind: one for one in (BACKBONES, ADAPTERS, HEADS, MODELS)}[kind]
    target: Callable[..., nn.Module] = import_target(registry.get(name) or "")
    if kind == "backbone":
        return target(**EVERY[which])
    if name in BELOW:
        return target(make(f"backbone {BELOW[name]}"), None, Multiclass(5))
    if kind == "model" and name != "base_model":
        return target(**EVERY[which])
    if name == "each_place":
        return BaseModel(SeriesNet(3, width=4, pooling="none"), None, target(**EVERY[which]))
    if name in PYRAMIDS:
        return _on_maps(target(**EVERY[which]), kind)
    small = SmallCNN(width=4, depth=2)
    if kind == "model":
        head = import_target(HEADS.get("multiclass") or "")(5)
        return target(small, None, head)
    part = target(**EVERY[which], in_channels=small.out_channels)
    return nn.Sequential(small, part)


def _on_maps(part: nn.Module, kind: str) -> nn.Module:
    maps = EdgeNet(width=0.25, depth=0.5, taps=[4, 8])
    if kind == "head":
        return BaseModel(maps, FPN(8), part)
    part.connect(maps.pyramid)
    return nn.Sequential(maps, part)


def inputs(which: str) -> tuple[torch.Tensor, ...]:
    """A batch of two."""
    return INPUTS.get(which) or (torch.randn(IMAGES, generator=torch.Generator().manual_seed(1)),)


def tensors(output: Any) -> list[torch.Tensor]:
    """All of an output that depends on the input."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        return [value for name, value in output.items() if name not in OF_NO_SAMPLE]
    return list(output)


@pytest.mark.seed("S0-69")
def test_the_catalog_is_covered() -> None:
    assert sorted(EVERY) == sorted(registered())
    assert len(EVERY) == 33


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", sorted(EVERY))
def test_every_part_keeps_the_contract(which: str) -> None:
    torch.manual_seed(0)
    network, batch = make(which), inputs(which)
    network.train()
    made = tensors(network(*batch))
    assert all(one.shape[0] == 2 for one in made)
    sum(one.square().mean() for one in made).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name

    network.eval()
    with torch.no_grad():
        expected = tensors(network(*batch))
        assert all(map(torch.equal, tensors(network(*batch)), expected))
        first = [one[:1] for one in batch]
        for one, whole in zip(tensors(network(*first)), expected, strict=True):
            torch.testing.assert_close(one, whole[:1], rtol=1e-3, atol=1e-4)

    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = make(which)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert all(map(torch.equal, tensors(again.eval()(*batch)), expected))


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", [name for name in sorted(EVERY) if name.startswith("backbone")])
def test_every_backbone_gives_what_it_says(which: str) -> None:
    backbone = make(which).eval()
    maps = tensors(backbone(*inputs(which)))
    assert maps[-1].shape[1] == backbone.out_channels
    assert maps[-1].ndim in (2, 4)
    if len(maps) > 1:
        assert backbone.pyramid.channels == tuple(one.shape[1] for one in maps)
        assert backbone.pyramid.strides == tuple(32 // one.shape[-1] for one in maps)


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", ["backbone small_cnn", "backbone torchvision"])
@pytest.mark.parametrize("adapter", [one for one in ADAPTERS.names() if one not in PYRAMIDS])
@pytest.mark.parametrize("head", ["multi_label", "multiclass", "regression"])
def test_parts_go_together(which: str, adapter: str, head: str) -> None:
    """Backbones that give maps and backbones that give vectors, with every adapter and head."""
    adapter_type = import_target(ADAPTERS.get(adapter) or "")
    head_type = import_target(HEADS.get(head) or "")
    model = BaseModel(make(which), adapter_type(**EVERY[f"adapter {adapter}"]), head_type(5))
    assert model(torch.randn(IMAGES)).shape == (2, 5)


@pytest.mark.parametrize("which", sorted(EVERY))
def test_every_part_can_be_exported(which: str) -> None:
    if which == "backbone timm_pyramid":
        pytest.skip("timm's feature wrappers are its own business")
    network = make(which).eval()
    batch = inputs(which)
    exported = torch.export.export(network, batch).module()
    for one, other in zip(tensors(exported(*batch)), tensors(network(*batch)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
