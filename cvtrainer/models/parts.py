"""The three kinds of parts and what they tell each other.

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
    """Features to outputs. Whatever comes as a map is pooled by the head itself."""


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
