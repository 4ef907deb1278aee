"""The three kinds of parts and what they tell each other.

A backbone knows its channels. Adapter and head may be written without theirs: they make their
layers when they are connected, which happens when the model is put together, so that parameters
exist before an optimizer asks for them.
"""

from __future__ import annotations

from torch import nn

from cvtrainer.core.errors import UserError


class Backbone(nn.Module):
    """Images to features: a map `[N, out_channels, h, w]` or vectors `[N, out_channels]`.

    A subclass sets `out_channels` in its constructor.
    """

    out_channels: int


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
