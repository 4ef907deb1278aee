"""Pictures through a code book and back: an encoder, a vector quantiser, a decoder."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import Residual, conv_norm_relu
from cvtrainer.models.quantizer import VectorQuantizer


class VQVAE(nn.Module):
    """Gives `recon` on a scale of 0 to 1, the loss `vq`, `perplexity` and `codes` `[N, h, w]`.

    A picture has one code for each square of `downsampling` pixels. `decay` is that of the code
    book's moving average; without one the book learns by gradients.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 32,
        downsampling: int = 4,
        blocks: int = 2,
        codes: int = 128,
        code_width: int = 32,
        commitment: float = 0.25,
        decay: float | None = 0.99,
    ) -> None:
        super().__init__()
        halvings = downsampling.bit_length() - 1
        if downsampling < 2 or downsampling != 2**halvings:
            raise UserError(f"VQVAE: downsampling is {downsampling}; give 2, 4, 8 or 16")
        self.in_channels = in_channels
        self.downsampling = downsampling
        self.encoder = nn.Sequential(
            *(
                conv_norm_relu(in_channels if step == 0 else width, width, stride=2)
                for step in range(halvings)
            ),
            *(Residual(width) for _ in range(blocks)),
            nn.Conv2d(width, code_width, 1),
        )
        self.quantizer = VectorQuantizer(codes, code_width, commitment, decay)
        self.decoder = nn.Sequential(
            conv_norm_relu(code_width, width),
            *(Residual(width) for _ in range(blocks)),
            *(
                nn.Sequential(nn.Upsample(scale_factor=2.0), conv_norm_relu(width, width))
                for _ in range(halvings)
            ),
            nn.Conv2d(width, in_channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if x.shape[-2] % self.downsampling or x.shape[-1] % self.downsampling:
            raise UserError(
                f"VQVAE: pictures of {list(x.shape[-2:])} do not divide by its downsampling of "
                f"{self.downsampling}"
            )
        quantised, loss, codes, perplexity = self.quantizer(self.encoder(x))
        recon = self.decoder(quantised)
        return {"recon": recon, "vq": loss, "perplexity": perplexity, "codes": codes}

    def picture_of(self, codes: Tensor) -> Tensor:
        """Pictures of codes `[N, h, w]`."""
        made: Tensor = self.decoder(self.quantizer.look_up(codes))
        return made
