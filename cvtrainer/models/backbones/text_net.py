"""Texts to features: a vector for each word or character, convolutions along the text.

Numbers are those of the `text` tensorizer: 0 fills, 1 is whatever the vocabulary lacks.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.along_time import AlongTime, Pooling


class TextNet(AlongTime):
    """Numbers `[N, T]` below `tokens`; `hide` is the share of words left out in training."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")

    def __init__(
        self,
        tokens: int,
        embedding: int = 64,
        width: int = 64,
        depth: int = 1,
        kernel_size: int = 3,
        pooling: Pooling = "both",
        hide: float = 0.0,
    ) -> None:
        super().__init__(width, depth, kernel_size, pooling)
        if tokens < 2 or embedding < 1 or not 0 <= hide < 1:
            raise UserError(
                f"TextNet: tokens is {tokens}, embedding {embedding}, hide {hide}; "
                "give 2 or more, 1 or more, and 0 to 1"
            )
        self.tokens = tokens
        self.embedding = nn.Embedding(tokens, embedding, padding_idx=0)
        self._begin_small()
        self.hide = nn.Dropout1d(hide)
        self.make_stages(embedding)

    def _begin_small(self) -> None:
        """What rare words learn would drown in torch's first values, which have a spread of 1."""
        with torch.no_grad():
            self.embedding.weight.mul_(0.1)

    def forward(self, x: Tensor, x_padding: Tensor | None = None) -> Tensor:
        if x.ndim != 2 or x.is_floating_point():
            raise UserError(
                f"TextNet takes whole numbers [N, T] and is given {list(x.shape)} {x.dtype}",
                todo="Give the text field the tensorizer `text`.",
            )
        words = self.hide(self.embedding(x))
        return self.along(words.transpose(1, 2), x_padding)
