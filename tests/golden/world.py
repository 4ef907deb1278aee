"""What the golden curves are drawn from: numbers of a counter, a small network, ten batches.

No library's generator takes part, so the same curve comes out on another machine and with another
version of torch, up to the rounding of its kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.core.seeds import mix
from tests.toy import BatchList

BATCHES, SIZE, LAST, SIDE, CLASSES = 10, 8, 5, 6, 3
EPOCHS = 5
STEPS = EPOCHS * BATCHES


def numbers(*shape: int, stream: int) -> Tensor:
    """Evenly spread between -1 and 1; each is a function of its stream and place alone."""
    count = math.prod(shape)
    values = [(mix(stream, place) >> 11) / 2**52 - 1.0 for place in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).float()


class Net(nn.Module):
    """Convolutions, BatchNorm, numbered blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        for block in self.blocks:
            x = x + block(x).relu()
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def filled(network: nn.Module, stream: int = 1) -> nn.Module:
    """Weights from the counter, offsets 0, scales as they are."""
    with torch.no_grad():
        for place, (name, parameter) in enumerate(network.named_parameters()):
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim > 1:
                spread = 1.5 / math.sqrt(parameter[0].numel())
                parameter.copy_(numbers(*parameter.shape, stream=1000 * stream + place) * spread)
    return network


def net() -> nn.Module:
    """The network at its beginning."""
    return filled(Net())


def batches(count: int = BATCHES, *, stream: int = 7) -> list[dict[str, Any]]:
    """Pictures whose class is the brightest of three regions; the last batch is smaller."""
    made, first = [], 0
    for place in range(count):
        size = LAST if place == count - 1 else SIZE
        x = numbers(size, 1, SIDE, SIDE, stream=stream * 100 + place)
        sums = x.reshape(size, CLASSES, -1).sum(2)
        made.append(
            {
                "x": x + sums.repeat_interleave(SIDE * SIDE // CLASSES, 1).reshape(x.shape) * 0.1,
                "target": {"class_id": sums.argmax(1)},
                "meta": {"index": list(range(first, first + size)), "path": [""] * size},
            }
        )
        first += size
    return made


TRAIN, VAL = batches(), batches(3, stream=8)


def stream(ready: list[dict[str, Any]]) -> BatchList:
    """Served in their order, each epoch alike."""
    return BatchList(ready)


def loss_of(network: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Cross entropy of one batch."""
    return nn.functional.cross_entropy(network(batch["x"]), batch["target"]["class_id"])


def evaluated(network: nn.Module) -> float:
    """Mean loss over the samples of the held-out batches."""
    network.eval()
    with torch.no_grad():
        losses = torch.stack([loss_of(network, batch) for batch in VAL])
    network.train()
    sizes = torch.tensor([len(batch["x"]) for batch in VAL], dtype=torch.float64)
    return float((losses.double() * sizes).sum() / sizes.sum())


def walk(
    step: Callable[[int, dict[str, Any]], Tensor], after_epoch: Callable[[int], None] | None = None
) -> list[float]:
    """Fifty steps by hand: what `step` returns for each batch."""
    curve = []
    for count in range(STEPS):
        curve.append(float(step(count, TRAIN[count % BATCHES]).detach()))
        if after_epoch is not None and count % BATCHES == BATCHES - 1:
            after_epoch(count // BATCHES + 1)
    return curve
