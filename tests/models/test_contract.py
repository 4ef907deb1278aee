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
from cvtrainer.models.backbones import SmallCNN

IMAGES = (2, 3, 32, 32)

EVERY: dict[str, dict[str, Any]] = {
    "backbone resnet18": {},
    "backbone resnet34": {},
    "backbone resnet50": {},
    "backbone small_cnn": {"width": 4, "depth": 3},
    "backbone timm": {"name": "mobilenetv3_small_050"},
    "backbone torchvision": {"name": "mobilenet_v3_small"},
    "adapter conv": {"out_channels": 6},
    "adapter identity": {},
    "adapter linear": {"out_channels": 6},
    "head multi_label": {"num_classes": 5},
    "head multiclass": {"num_classes": 5},
    "model base_model": {},
}
"""Arguments with which each part is tried."""


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
    small = SmallCNN(width=4, depth=2)
    if kind == "model":
        head = import_target(HEADS.get("multiclass") or "")(5)
        return target(small, None, head)
    part = target(**EVERY[which], in_channels=small.out_channels)
    return nn.Sequential(small, part)


@pytest.mark.seed("S0-69")
def test_the_catalog_is_covered() -> None:
    assert sorted(EVERY) == sorted(registered())
    assert len(EVERY) == 12


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", sorted(EVERY))
def test_every_part_keeps_the_contract(which: str) -> None:
    torch.manual_seed(0)
    network, x = make(which), torch.randn(IMAGES)
    network.train()
    output = network(x)
    assert output.shape[0] == 2
    output.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name

    network.eval()
    with torch.no_grad():
        expected = network(x)
        assert torch.equal(network(x), expected)
        torch.testing.assert_close(network(x[:1]), expected[:1], rtol=1e-3, atol=1e-4)

    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = make(which)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(again.eval()(x), expected)


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", [name for name in sorted(EVERY) if name.startswith("backbone")])
def test_every_backbone_gives_what_it_says(which: str) -> None:
    backbone = make(which).eval()
    features = backbone(torch.randn(IMAGES))
    assert features.shape[1] == backbone.out_channels
    assert features.ndim in (2, 4)


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", ["backbone small_cnn", "backbone torchvision"])
@pytest.mark.parametrize("adapter", ADAPTERS.names())
@pytest.mark.parametrize("head", HEADS.names())
def test_parts_go_together(which: str, adapter: str, head: str) -> None:
    """Backbones that give maps and backbones that give vectors, with every adapter and head."""
    adapter_type = import_target(ADAPTERS.get(adapter) or "")
    head_type = import_target(HEADS.get(head) or "")
    model = BaseModel(
        make(which), adapter_type(**EVERY[f"adapter {adapter}"]), head_type(num_classes=5)
    )
    assert model(torch.randn(IMAGES)).shape == (2, 5)
