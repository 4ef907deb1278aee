"""Maps of several sizes from any classification network of torchvision that makes maps.

The network is traced and cut behind the last map that is asked for; a map is what the last block
at its stride gives. Maps whose sides are no even share of the picture's do not count: nobody could
tell which pixels their places stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.from_torchvision import (
    classification_network,
    published_classifier,
)
from cvtrainer.models.backbones.published import take_published
from cvtrainer.models.backbones.published_input import PublishedInput, input_of_torchvision
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.parts import Backbone, Pyramid

_PROBE = 128
_CHANNELS_LAST = ("SwinTransformer",)
"""Networks whose maps inside of `features` are `[N, H, W, C]`."""


class TorchvisionPyramid(Backbone):
    """The maps at the strides of `taps`, from the finest to the coarsest."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    def __init__(
        self,
        name: str,
        taps: Sequence[int] = (8, 16, 32),
        in_channels: int = 3,
        weights: str | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor

        network = classification_network(name)
        fit_stem(network, in_channels)
        self._channels_last = type(network).__name__ in _CHANNELS_LAST
        levels = _levels(name, network, in_channels)
        if not levels:
            raise UserError(
                f"the maps of torchvision's {name} are no even share of the picture's sides",
                todo="Use another convolutional network, such as mobilenet_v3_small.",
            )
        missing = [tap for tap in taps if tap not in levels]
        if missing or not taps or list(taps) != sorted(set(taps)):
            raise UserError(
                f"TorchvisionPyramid: taps is {list(taps)} and {name} has maps at {list(levels)}",
                todo="Give strides of these, from the finest to the coarsest.",
            )
        nodes = {levels[tap][0]: str(tap) for tap in taps}
        self.name = name
        self.in_channels = in_channels
        self.network: nn.Module = create_feature_extractor(network, nodes)
        self.pyramid = Pyramid(tuple(levels[tap][1] for tap in taps), tuple(taps))
        self.out_channels = self.pyramid.channels[-1]
        if pretrained or weights:
            take_published(self, weights)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.network(x).values()
        return [one.permute(0, 3, 1, 2) for one in maps] if self._channels_last else list(maps)

    def library_names(self) -> Mapping[str, str]:
        """torchvision's name of each weight: ours."""
        return {name: f"network.{name}" for name in self.network.state_dict()}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights of that name (torchvision's best where none is given), under its names."""
        return published_classifier(self.name, which)

    def published_input(self, which: str | None = None) -> PublishedInput | None:
        """The pictures they were trained on."""
        return input_of_torchvision(self.name, which)


def _levels(name: str, network: nn.Module, channels: int) -> dict[int, tuple[str, int]]:
    """For each stride the last block that ends with a map there: its node, the map's channels."""
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    try:
        nodes = get_graph_node_names(network)[1]
        channels_last = type(network).__name__ in _CHANNELS_LAST
        inside = [node for node in nodes if not channels_last or node.startswith("features.")]
        ends = list({_block(node): node for node in inside}.values())
        probed = create_feature_extractor(network, ends).eval()
        with torch.no_grad():
            maps = probed(torch.zeros(1, channels, _PROBE, _PROBE))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            f"torchvision's {name} gives no maps of several sizes",
            todo="Use a convolutional network, such as mobilenet_v3_small.",
        ) from error
    finally:
        network.train()
    found: dict[int, tuple[str, int]] = {}
    for node, value in maps.items():
        if not isinstance(value, Tensor) or value.ndim != 4 or node == "x":
            continue
        height, width, deep = (value if channels_last else value.movedim(1, -1)).shape[1:]
        if width > 1 and height == width and _PROBE % width == 0:
            found[_PROBE // width] = (node, deep)
    return dict(sorted(found.items()))


def _block(node: str) -> str:
    """`features.3` of `features.3.block.0`: within a block maps are not meant to be taken."""
    return ".".join(node.split(".")[:2])
