"""Small networks for pictures made from nothing: a maker, and a judge of what it makes.

Plain convolutions at each size; the maker's pictures lie on a scale of 0 to 1. The judge has no
BatchNorm, so its score of a picture does not depend on the other pictures of the batch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cvtrainer.core.errors import UserError

_SMALLEST = 4


class PictureGenerator(nn.Module):
    """Latents `[N, latent]` to pictures `[N, channels, size, size]`, from 4 x 4 by doubling."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self, latent: int = 64, size: int = 32, channels: int = 3, width: int = 32
    ) -> None:
        super().__init__()
        widths = [width * 2**step for step in reversed(range(_doublings("generator", size) + 1))]
        widths = [min(one, 8 * width) for one in widths]
        self.in_features = latent
        self.start = nn.Linear(latent, widths[0] * _SMALLEST**2)
        self.steps = nn.Sequential(
            *(
                nn.Sequential(
                    nn.BatchNorm2d(before),
                    nn.ReLU(inplace=True),
                    nn.Upsample(scale_factor=2.0, mode="nearest"),
                    nn.Conv2d(before, after, 3, padding=1),
                )
                for before, after in pairwise(widths)
            )
        )
        self.finish = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        started = self.start(latents).unflatten(1, (-1, _SMALLEST, _SMALLEST))
        made: Tensor = self.finish(self.steps(started))
        return made


class PictureDiscriminator(nn.Module):
    """Pictures `[N, channels, size, size]` to scores `[N]`, by halving down to 4 x 4.

    With `spectral` each layer is kept from growing more than its input does.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")

    def __init__(
        self, size: int = 32, channels: int = 3, width: int = 32, spectral: bool = True
    ) -> None:
        super().__init__()
        bound = spectral_norm if spectral else _as_it_is
        halvings = _doublings("discriminator", size)
        widths = [channels, *(min(width * 2**step, 8 * width) for step in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [bound(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.score = bound(nn.Linear(widths[-1] * _SMALLEST**2, 1))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.score(self.layers(x))
        return scores.squeeze(1)


def _as_it_is(layer: nn.Module) -> nn.Module:
    return layer


def _doublings(who: str, size: int) -> int:
    steps = size.bit_length() - _SMALLEST.bit_length()
    if steps < 1 or size != _SMALLEST * 2**steps:
        raise UserError(f"the {who}'s size is {size}; give 8, 16, 32, 64, 128 and so on")
    return steps
