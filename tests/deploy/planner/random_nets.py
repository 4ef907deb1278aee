"""Random small networks, each as plain data and as a module that torch can export.

The data form is what a brute-force simulation goes through, so that nothing of the planner, not
even the export, stands between it and what was meant.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from torch import Tensor, cat, nn
from torch.nn import functional

SIZE = 8
KINDS = ("conv", "conv", "block", "block", "add", "cat", "relu", "pool", "swish")


@dataclass(frozen=True)
class Op:
    """`kind` of the places `reads`; place 0 is the input, place n the result of operation n."""

    kind: str
    reads: tuple[int, ...]
    channels: int
    side: int


def random_net(seed: int) -> tuple[list[Op], list[int]]:
    """Operations in order, and the places that are returned."""
    draw = random.Random(seed)
    ops = [Op("input", (), draw.randint(1, 6), SIZE)]
    for _ in range(draw.randint(3, 14)):
        kind = draw.choice(
            ("conv", "conv", "block", "block", "add", "cat", "relu", "pool", "swish")
        )
        # The last ones more often, so that some values die early and others are kept for long.
        one = draw.choice(range(max(0, len(ops) - 4), len(ops)))
        here = ops[one]
        if kind in ("add", "cat"):
            others = [
                place
                for place, other in enumerate(ops)
                if other.side == here.side and place != one
                if kind == "cat" or other.channels == here.channels
            ]
            if not others:
                kind = "conv"
            else:
                two = draw.choice(others)
                channels = here.channels + (ops[two].channels if kind == "cat" else 0)
                ops.append(Op(kind, (one, two), channels, here.side))
                if kind == "add" and draw.random() < 0.7:  # as residual blocks end
                    ops.append(Op("relu", (len(ops) - 1,), channels, here.side))
                continue
        if kind == "pool" and here.side < 2:
            kind = "relu"
        channels = draw.randint(1, 6) if kind in ("conv", "block") else here.channels
        side = here.side // 2 if kind == "pool" else here.side
        ops.append(Op(kind, (one,), channels, side))
    read = {place for op in ops for place in op.reads}
    outputs = [place for place in range(1, len(ops)) if place not in read]
    return ops, outputs


class RandomNet(nn.Module):
    """What the operations say; a block is a convolution, a norm and a clamp."""

    def __init__(self, ops: list[Op], outputs: list[int]) -> None:
        super().__init__()
        self.ops, self.outputs = ops, outputs
        self.parts = nn.ModuleDict()
        for place, op in enumerate(ops):
            if op.kind == "conv":
                taken = ops[op.reads[0]].channels
                self.parts[str(place)] = nn.Conv2d(taken, op.channels, 3, padding=1)
            elif op.kind == "block":
                taken = ops[op.reads[0]].channels
                self.parts[str(place)] = nn.Sequential(
                    nn.Conv2d(taken, op.channels, 1, bias=False),
                    nn.BatchNorm2d(op.channels),
                    nn.ReLU6(),
                )

    def forward(self, x: Tensor) -> list[Tensor]:
        made = [x]
        for place, op in enumerate(self.ops[1:], start=1):
            given = [made[one] for one in op.reads]
            if op.kind in ("conv", "block"):
                made.append(self.parts[str(place)](given[0]))
            elif op.kind == "add":
                made.append(given[0] + given[1])
            elif op.kind == "cat":
                made.append(cat(given, 1))
            elif op.kind == "pool":
                made.append(functional.max_pool2d(given[0], 2))
            else:
                made.append(functional.relu(given[0]) if op.kind == "relu" else _swish(given[0]))
        return [made[place] for place in self.outputs]


def _swish(x: Tensor) -> Tensor:
    return functional.hardswish(x)
