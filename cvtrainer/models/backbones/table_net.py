"""Rows of a table to features: numbers beside a vector for each category, dense layers.

Numbers come as the `numbers` tensorizer makes them, categories as `categories` does: 0 is a value
that is missing or that training had not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Backbone


class TableNet(Backbone):
    """`[N, numbers]` and, where there are `categories`, their numbers `[N, len(categories)]`.

    `categories` says how many numbers each column of categories may have, the 0 included.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")

    def __init__(
        self,
        numbers: int,
        categories: Sequence[int] = (),
        *,
        embedding: int = 4,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if numbers < 0 or numbers + len(categories) < 1 or any(one < 1 for one in categories):
            raise UserError(
                f"TableNet: numbers is {numbers}, categories {list(categories)}; give at least "
                "one column, and 1 or more for each of the categories"
            )
        if embedding < 1 or width < 1 or depth < 1:
            raise UserError(
                f"TableNet: embedding is {embedding}, width {width}, depth {depth}; give 1 or more"
            )
        self.numbers = numbers
        self.embeddings = nn.ModuleList(nn.Embedding(one, embedding) for one in categories)
        self.out_channels = width
        taken = [numbers + embedding * len(categories), *[width] * (depth - 1)]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Linear(one, width, bias=False),
                    nn.BatchNorm1d(width),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                )
                for one in taken
            )
        )

    def forward(self, x: Tensor, categories: Tensor | None = None) -> Tensor:
        self._check(x, categories)
        parts = [x]
        if categories is not None:
            parts += [
                embedding(categories[:, place]) for place, embedding in enumerate(self.embeddings)
            ]
        features: Tensor = self.layers(torch.cat(parts, dim=1) if len(parts) > 1 else x)
        return features

    def _check(self, x: Tensor, categories: Tensor | None) -> None:
        if x.ndim != 2 or x.shape[1] != self.numbers:
            raise UserError(
                f"TableNet takes rows of {self.numbers} numbers and is given {list(x.shape)}",
                todo="Set numbers to the number of values in a row.",
            )
        given = 0 if categories is None else categories.shape[1]
        if given != len(self.embeddings):
            raise UserError(
                f"TableNet takes {len(self.embeddings)} columns of categories and is given {given}",
                todo="Name as many in the data set's columns: {categories: [...]}.",
            )
