"""The three kinds of parts, what they tell each other, and what they say about themselves.

A backbone knows its channels. Adapter and head may be written without theirs: they make their
layers when they are connected, which happens when the model is put together, so that parameters
exist before an optimizer asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cvtrainer.core.errors import UserError


@dataclass(frozen=True)
class Pyramid:
    """Maps of several sizes, from the finest to the coarsest."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    """How many input pixels one place of each map stands for, along an axis."""


class Backbone(nn.Module):
    """Images to features: a map `[N, out_channels, h, w]` or vectors `[N, out_channels]`.

    A subclass sets `out_channels` in its constructor; one that gives a list of maps sets `pyramid`.
    """

    out_channels: int
    pyramid: Pyramid | None = None


CAPABILITIES = ("exportable", "quantisable", "compilable")
"""What a class may say of itself in an attribute of this name: that `torch.export` gives the same
answers, that it is made of operators which int8 back ends run, that `torch.compile` takes it whole.
"""
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_PLAIN_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6),
    *(nn.Identity, nn.Flatten, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
)


def capabilities_of(network: nn.Module) -> tuple[str, ...] | None:
    """What a network is known to be: what all of its parts are; None where one does not say.

    A class that says something speaks for what it is made of; one with `OF_PARTS` only for itself.
    """
    own: tuple[str, ...] | None = getattr(network, "CAPABILITIES", None)
    if own is None and isinstance(network, _PLAIN_LAYERS):
        return CAPABILITIES
    if own is None and not isinstance(network, _CONTAINERS):
        return None
    found = CAPABILITIES if own is None else own
    must_speak = own is None or getattr(network, "OF_PARTS", False)
    for part in network.children():
        if must_speak or hasattr(part, "CAPABILITIES"):
            theirs = capabilities_of(part)
            if theirs is None:
                return None
            found = tuple(one for one in found if one in theirs)
    return found


class Connected(nn.Module):
    """A part that is fitted to the channels it is given; subclasses define `make_layers`."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels: int | None = None

    def connect(self, channels: int) -> None:
        """Make the layers for so many channels; connecting again to as many changes nothing."""
        if self.in_channels == channels:
            return
        if self.in_channels is not None:
            raise UserError(
                f"{type(self).__name__} takes {self.in_channels} channels and is given {channels}"
            )
        self.in_channels = channels
        self.make_layers(channels)

    def make_layers(self, channels: int) -> None:
        """Create what depends on the number of input channels."""


class Adapter(Connected):
    """Features to features: between what the backbone gives and what the head takes.

    A subclass sets `out_channels`, at the latest in `make_layers`.
    """

    out_channels: int | None = None

    @property
    def backbone_channel(self) -> int | None:
        """Channels taken from the backbone; None until connected."""
        return self.in_channels

    @property
    def head_channel(self) -> int | None:
        """Channels given to the head; None while they are open."""
        return self.out_channels


class Head(Connected):
    """Features to outputs. Whatever comes as a map is pooled by the head itself, if it `POOLS`."""

    POOLS: ClassVar[bool] = True


class OnPyramid(nn.Module):
    """A part that takes a list of maps; subclasses define `make_layers` and `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Pyramid | None = None

    def connect(self, pyramid: Pyramid) -> None:
        """Make the layers for these maps; connecting again to such maps changes nothing."""
        if self.taken == pyramid:
            return
        if self.taken is not None:
            raise UserError(f"{type(self).__name__} takes {self.taken} and is given {pyramid}")
        self.taken = pyramid
        self.make_layers(pyramid)

    def make_layers(self, pyramid: Pyramid) -> None:
        """Create what depends on the maps."""


class PyramidAdapter(OnPyramid):
    """Maps to maps. A subclass sets `pyramid` in `make_layers`."""

    pyramid: Pyramid | None = None


class PyramidHead(OnPyramid):
    """Maps to outputs. One that `takes_size` is given height and width of the input as well."""

    takes_size: ClassVar[bool] = False
