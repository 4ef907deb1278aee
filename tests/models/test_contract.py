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
from cvtrainer.models.parts import capabilities_of

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
    "backbone torchvision_pyramid": {"name": "mobilenet_v3_small", "taps": [8, 16]},
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
    "model torchvision_detector": {
        "name": "ssdlite320_mobilenet_v3_large",
        "num_classes": 3,
        "most": 5,
    },
    "model torchvision_segmenter": {"name": "lraspp_mobilenet_v3_large", "num_classes": 3},
    "model vqvae": {"width": 8, "codes": 16, "code_width": 4},
}
"""Arguments with which each part is tried."""

SERIES, TEXTS = torch.randn(2, 32, 3), torch.randint(20, (2, 9))
ROWS = (torch.randn(2, 5), torch.tensor([[0, 2], [3, 1]]))
BOXES = torch.tensor([[[5.0, 5, 30, 30], [0, 0, 0, 0]], [[10, 10, 40, 40], [3, 3, 20, 50]]])
OBJECTS = (
    torch.randn(2, 3, 64, 64),
    BOXES,
    torch.tensor([[1, 0], [2, 0]]),
    torch.tensor([[False, True], [False, False]]),
)
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
    "model torchvision_detector": OBJECTS,
}
"""What a part takes that takes no pictures."""

BELOW = {
    "graph_model": "graph_net",
    "sequence_model": "series_net",
    "table_model": "table_net",
}
"""The backbone in models of several inputs."""

OF_NO_SAMPLE = (
    *("anchors", "vq", "perplexity", "codes"),
    *("loss", "bbox_regression", "classification"),
)
"""Outputs that are not one value, with a gradient, for each sample."""

PYRAMIDS = ("fpn", "pan", "unet", "detector", "heatmap", "instances", "mask")
"""Parts that take maps of several sizes."""


KNOWN = ("exportable", "quantisable", "compilable")
"""What a part may say in `CAPABILITIES`."""

BY_NAME = ("timm", "timm_pyramid", "torchvision", "torchvision_pyramid", "torchvision_segmenter")
"""Parts that hold any network of a library; they promise only what holds for all."""

INT8 = {
    *("conv1d", "conv2d", "linear", "batch_norm", "dropout", "feature_dropout"),
    *("relu", "leaky_relu", "hardswish", "hardsigmoid", "sigmoid", "add", "mul", "cat", "stack"),
    *("max_pool2d", "adaptive_avg_pool2d", "mean", "amax"),
    *("upsample_nearest2d", "upsample_bilinear2d", "pad", "slice", "select", "clone", "alias"),
    *("flatten", "unflatten", "view", "reshape", "transpose", "permute", "expand"),
    *("arange", "full_like"),
}
"""Operators that int8 back ends run, or that only move numbers."""


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
    missing, gone = set(registered()) - set(EVERY), set(EVERY) - set(registered())
    assert not missing, (
        f"add {sorted(missing)} to EVERY with small arguments; to INPUTS too if it takes no "
        "pictures, to PYRAMIDS if it takes maps; its class says CAPABILITIES"
    )
    assert not gone, f"{sorted(gone)} are no longer registered"
    assert len(EVERY) == 36


@pytest.mark.seed("S0-69")
@pytest.mark.parametrize("which", sorted(EVERY))
def test_every_part_keeps_the_contract(which: str) -> None:
    torch.manual_seed(0)
    network, batch = make(which), inputs(which)
    network.train()
    outputs = network(*batch)
    made = tensors(outputs)
    assert all(one.shape[0] == 2 for one in made)
    made = made or [outputs["loss"]]
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
def test_every_part_says_what_it_is(which: str) -> None:
    """A class that says nothing has not been thought about; one that says too much is a trap."""
    kind, name = which.split()
    registry = {one.kind: one for one in (BACKBONES, ADAPTERS, HEADS, MODELS)}[kind]
    said = getattr(import_target(registry.get(name) or ""), "CAPABILITIES", None)
    assert said is not None, f"{which}: its class needs CAPABILITIES = (...), words of {KNOWN}"
    assert set(said) <= set(KNOWN)
    network = make(which).eval()
    known = capabilities_of(network)
    assert known is not None
    program = exported(network, inputs(which))
    assert ("exportable" in known) == (program is not None), f"{which}: exportable"
    if program is None:
        assert "quantisable" not in known
        return
    strange = operators(program) - INT8
    if "quantisable" in known:
        assert not strange, f"{which}: not for int8 back ends"
    elif name not in BY_NAME:
        assert strange, f"{which} says too little: add quantisable"


@pytest.mark.parametrize("which", sorted(EVERY))
def test_what_is_compilable_compiles_whole(which: str) -> None:
    network = make(which).eval()
    known = capabilities_of(network) or ()
    assert ("compilable" in known) == compiles(network, inputs(which)), which


@pytest.mark.parametrize("which", sorted(EVERY))
def test_every_part_is_built_without_memory_and_filled_later(which: str) -> None:
    network, batch = make(which).eval(), inputs(which)
    with torch.device("meta"):
        empty = make(which)
    assert all(one.is_meta for one in empty.parameters())
    empty.to_empty(device="cpu").load_state_dict(network.state_dict())
    with torch.no_grad():
        assert all(map(torch.equal, tensors(empty.eval()(*batch)), tensors(network(*batch))))


def test_a_flag_that_lies_is_found() -> None:
    """The checks above, on networks that cannot do what they say."""

    class Branches(nn.Module):
        CAPABILITIES = KNOWN

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if x.sum().item() > 0 else x

    class Normalises(SmallCNN):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.layer_norm(super().forward(x), [8])

    batch = (torch.randn(2, 3, 32, 32),)
    assert exported(Branches(), batch) is None
    assert not compiles(Branches(), batch)
    program = exported(Normalises(4, 3).eval(), batch)
    assert program is not None
    assert operators(program) - INT8 == {"layer_norm"}
    said = BaseModel(Normalises(4, 3), None, Multiclass(5))
    assert capabilities_of(said) == KNOWN
    assert capabilities_of(BaseModel(Branches(), nn.Identity(), nn.Conv2d(3, 2, 1))) == KNOWN
    assert capabilities_of(BaseModel(nn.Bilinear(2, 2, 2), None, nn.Linear(2, 2))) is None


def exported(network: nn.Module, batch: tuple[torch.Tensor, ...]) -> Any:
    """The program, if there can be one that answers as the network does."""
    try:
        program = torch.export.export(network, batch)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException):
        return None
    for one, other in zip(tensors(program.module()(*batch)), tensors(network(*batch)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    return program


def operators(program: Any) -> set[str]:
    """Names of the tensor operators in it, without their overloads."""
    calls = (node.target for node in program.graph.nodes if node.op == "call_function")
    return {
        one.overloadpacket.__name__.rstrip("_") for one in calls if hasattr(one, "overloadpacket")
    }


def compiles(network: nn.Module, batch: tuple[torch.Tensor, ...]) -> bool:
    """Whether it is one graph, which answers as the network does."""
    torch._dynamo.reset()
    whole = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        try:
            made = tensors(whole(*batch))
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException):
            return False
        for one, other in zip(made, tensors(network(*batch)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    return True
