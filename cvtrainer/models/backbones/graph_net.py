"""Graphs to features: every node takes what its neighbours say into account.

Graphs of a batch are padded to the largest one. `edges` holds a weight for each pair of nodes; the
row of a node says whom it listens to, and is brought to a sum of one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.along_time import POOLINGS, Pooling
from cvtrainer.models.parts import Backbone
from cvtrainer.ops.padding import real_max, real_mean, without_padding


class GraphNet(Backbone):
    """Nodes `[N, V, in_channels]` and edges `[N, V, V]`; `depth` rounds of messages.

    `pooling: none` gives features of each node, `[N, width, V]`; otherwise they are those of the
    whole graph.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        depth: int = 2,
        pooling: Pooling = "none",
        dropout: float = 0.0,
        messages: Literal["mean", "none"] = "mean",
    ) -> None:
        super().__init__()
        if in_channels < 1 or width < 1 or depth < 1:
            raise UserError(
                f"GraphNet: in_channels is {in_channels}, width {width}, depth {depth}; "
                "give 1 or more"
            )
        if pooling not in POOLINGS or messages not in ("mean", "none"):
            raise UserError(
                f"GraphNet: pooling is {pooling!r}, messages {messages!r}; they can be "
                f"{', '.join(POOLINGS)}, and mean or none"
            )
        self.in_channels = in_channels
        self.pooling = pooling
        self.messages = messages
        self.out_channels = width * 2 if pooling == "both" else width
        self.scale = nn.BatchNorm1d(in_channels)
        self.rounds = nn.ModuleList(
            _Round(before, width, dropout) for before in [in_channels, *[width] * (depth - 1)]
        )

    def forward(self, x: Tensor, edges: Tensor, x_padding: Tensor | None = None) -> Tensor:
        if x.ndim != 3 or x.shape[2] != self.in_channels or edges.shape[1:] != (x.shape[1],) * 2:
            raise UserError(
                f"GraphNet takes nodes [N, V, {self.in_channels}] and edges [N, V, V] and is given "
                f"{list(x.shape)} and {list(edges.shape)}"
            )
        weights = edges / edges.sum(dim=2, keepdim=True).clamp(min=1e-6)
        if self.messages == "none":
            weights = torch.zeros_like(weights)
        weights = weights.transpose(1, 2)
        nodes = without_padding(self.scale(x.transpose(1, 2)), x_padding)
        for one in self.rounds:
            nodes = without_padding(one(nodes, weights), x_padding)
        if self.pooling == "none":
            return nodes
        made = [real_mean(nodes, x_padding)] if self.pooling in ("mean", "both") else []
        if self.pooling in ("max", "both"):
            made.append(real_max(nodes, x_padding))
        return torch.cat(made, dim=1) if len(made) > 1 else made[0]


class _Round(nn.Module):
    """What a node is, plus what its neighbours are on average, each through weights of its own."""

    def __init__(self, before: int, width: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.Conv1d(before, width, 1, bias=False)
        self.theirs = nn.Conv1d(before, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.active = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, weights: Tensor) -> Tensor:
        heard = self.own(nodes) + self.theirs(nodes @ weights)
        made: Tensor = self.dropout(self.active(self.norm(heard)))
        return made
