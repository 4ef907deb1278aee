"""The near-empty training step that every loop is measured with, and a hand-written loop for it.

A linear layer on eight samples costs so little that what a framework adds shows. The module needs
torch alone, because the peers run it in environments of their own.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FEATURES = 16
CLASSES = 4
BATCH_SIZE = 8
LEARNING_RATE = 0.05

Pair = tuple[Tensor, Tensor]


def pin_to_one_core() -> None:
    """One thread on one core: what is measured is the interpreter, not the scheduler."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def make_model() -> nn.Linear:
    """The same weights each time."""
    torch.manual_seed(0)
    return nn.Linear(FEATURES, CLASSES)


def make_optimizer(model: nn.Module) -> torch.optim.SGD:
    """Plain SGD in its single-tensor form, the cheapest there is."""
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, foreach=False)


def make_pairs(count: int) -> list[Pair]:
    """`count` batches of inputs and labels, the same each time."""
    generator = torch.Generator().manual_seed(1)
    pairs = []
    for _ in range(count):
        x = torch.randn(BATCH_SIZE, FEATURES, generator=generator)
        y = torch.randint(CLASSES, (BATCH_SIZE,), generator=generator)
        pairs.append((x, y))
    return pairs


class HandWritten:
    """The loop one would write without any framework."""

    def __init__(self) -> None:
        self.model = make_model()
        self.optimizer = make_optimizer(self.model)
        self.criterion = nn.CrossEntropyLoss()

    def run(self, pairs: Sequence[Pair]) -> None:
        """Train on these batches."""
        model, optimizer, criterion = self.model, self.optimizer, self.criterion
        for x, y in pairs:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()

    def curve(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Train on these batches and keep each loss."""
        losses = []
        for x, y in pairs:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return losses


class TimedBatches:
    """Batches that note when each next one is asked for.

    A framework's set-up and tear-down thus stay outside the measurement. Frameworks that count
    batches never ask after the last one, so their last step is not seen.
    """

    def __init__(self, batches: Sequence[object]) -> None:
        self.batches = batches
        self.seconds_per_step = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[object]:
        start = time.perf_counter()
        for done, batch in enumerate(self.batches, 1):
            yield batch
            self.seconds_per_step = (time.perf_counter() - start) / done


@dataclass(frozen=True)
class Cost:
    """Medians over the blocks, in microseconds a step."""

    by_hand_us: float
    with_loop_us: float
    difference_us: float

    @property
    def ratio(self) -> float:
        """How many times as long as by hand."""
        return self.with_loop_us / self.by_hand_us


def alternate(block: Callable[[], float], *, steps: int, blocks: int) -> Cost:
    """Time `block` (seconds for `steps` steps) in turn with the hand-written loop."""
    hand = HandWritten()
    pairs = make_pairs(steps)
    hand.run(pairs)
    block()
    by_hand, with_loop = [], []
    for _ in range(blocks):
        start = time.perf_counter()
        hand.run(pairs)
        by_hand.append((time.perf_counter() - start) / steps * 1e6)
        with_loop.append(block() / steps * 1e6)
    differences = [ours - theirs for ours, theirs in zip(with_loop, by_hand, strict=True)]
    return Cost(
        statistics.median(by_hand), statistics.median(with_loop), statistics.median(differences)
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first is flush left."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    shown = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        shown.append("  ".join(cells).rstrip())
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(shown)
