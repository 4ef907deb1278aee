"""Our loop on two gloo processes next to a hand-written DDP loop with the same model and data.

    python -m benchmarks.ddp_scaling

Each process computes in one thread. Blocks of both loops alternate in the
same processes, in changing order; the slower rank's time counts, and the median of the ratios is
what is reported. Budget: 1.05. The ratio of processor time says the same where others use the
machine as well. With `--one` all in one process, which shows the scaling.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.near_empty import table
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import AccumulateHook, BaseHook, DDPHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer

BUDGET = 1.05
BATCH_SIZE = 32
CLASSES = 10


@dataclass(frozen=True)
class Variant:
    """What is done besides forward, backward and optimizer."""

    name: str
    measures: bool = False
    accumulate: int = 1


VARIANTS = (
    Variant("bare"),
    Variant("loss and accuracy", measures=True),
    Variant("4 batches a step", accumulate=4),
)


def make_model() -> nn.Module:
    """Three convolutions with BatchNorm, about 0.3 million parameters; the same each time."""
    torch.manual_seed(0)

    def block(inner: int, outer: int) -> list[nn.Module]:
        return [nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU()]

    layers = [*block(3, 32), *block(32, 128), *block(128, 256)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, CLASSES))


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


class Ready:
    """A stream over pictures that are in memory already; each rank has its own."""

    def __init__(self, batches: int, rank: int) -> None:
        generator = torch.Generator().manual_seed(rank)
        self.batch_size = BATCH_SIZE
        self.pairs: list[tuple[Tensor, Tensor]] = [
            (
                torch.randn(BATCH_SIZE, 3, 32, 32, generator=generator),
                torch.randint(CLASSES, (BATCH_SIZE,), generator=generator),
            )
            for _ in range(batches)
        ]
        self._world_size = 1

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def samples(self) -> int:
        return len(self.pairs) * BATCH_SIZE * self._world_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[dict[str, Any]]:
        for x, y in self.pairs[start:]:
            meta = {"index": [0] * BATCH_SIZE, "weight": 1.0}
            yield {"x": x, "target": {"class_id": y}, "meta": meta}

    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def shard(self, rank: int, world_size: int) -> None:
        self._world_size = world_size

    def close(self) -> None: ...


class HandWritten:
    """The loop that one would write with torch alone."""

    def __init__(self, variant: Variant, data: Ready, world: World) -> None:
        self.variant, self.pairs = variant, data.pairs
        self.bare = make_model()
        several = world.world_size > 1
        self.model = (
            DistributedDataParallel(self.bare, gradient_as_bucket_view=True)
            if several
            else self.bare
        )
        self.optimizer = make_optimizer(self.model)
        self.criterion = nn.CrossEntropyLoss()
        self.seen: list[float] = []

    def epoch(self) -> None:
        self.model.train()
        every, count = self.variant.accumulate, len(self.pairs)
        losses, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for place, (x, y) in enumerate(self.pairs, 1):
            last = place % every == 0 or place == count
            held = isinstance(self.model, DistributedDataParallel) and not last
            with self.model.no_sync() if held else nullcontext():
                output = self.model(x)
                loss = self.criterion(output, y)
                (loss / every if every > 1 else loss).backward()
            if last:
                self.optimizer.step()
                self.optimizer.zero_grad()
            if self.variant.measures:
                losses += loss.detach()
                hits += (output.detach().argmax(1) == y).sum()
        if self.variant.measures:
            total = torch.stack([losses, hits.float()])
            if isinstance(self.model, DistributedDataParallel):
                distributed.all_reduce(total)
            self.seen += total.tolist()


def make_ours(variant: Variant, data: Ready, world: World) -> Trainer:
    model = make_model()
    hooks: list[BaseHook] = [DDPHook()]
    hooks += [AccumulateHook(variant.accumulate)] if variant.accumulate > 1 else []
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        lambda networks: {"main": make_optimizer(networks["model"])},
        {"train": data},
        hooks=hooks,
        meters=[LossMeter(), AccuracyMeter()] if variant.measures else [],
        settings=StageSettings(world=world),
    )


class Took(NamedTuple):
    """Seconds: by the clock, on the rank that is last, and of the processors, on all ranks."""

    clock: float
    processors: float


def timed(block: Callable[[], object], world: World) -> Took:
    """How long the block takes when all ranks begin it together."""
    if world.world_size > 1:
        distributed.barrier()
    start, used = time.perf_counter(), time.process_time()
    block()
    clock = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
    processors = torch.tensor(time.process_time() - used, dtype=torch.float64)
    if world.world_size > 1:
        distributed.all_reduce(clock, op=distributed.ReduceOp.MAX)
        distributed.all_reduce(processors)
    return Took(float(clock), float(processors))


@dataclass(frozen=True)
class Comparison:
    """Medians over the pairs of blocks."""

    by_hand_ms: float
    ours_ms: float
    ratio: float
    processor_ratio: float


def compare(variant: Variant, steps: int, blocks: int, world: World) -> Comparison:
    """Blocks of both loops in turn; first, whether they compute the same bits."""
    data = Ready(steps, world.rank)
    hand, trainer = HandWritten(variant, data, world), make_ours(variant, data, world)
    epochs = iter(range(1, 1_000_000))
    pair: Sequence[Callable[[], object]] = (hand.epoch, lambda: trainer.train(next(epochs)))
    for block in pair:
        timed(block, world)
    same = all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(trainer.model.parameters(), hand.bare.parameters(), strict=True)
    )
    assert same, "the two loops compute different things"
    pairs: list[tuple[Took, Took]] = []
    for number in range(blocks):
        order = (0, 1) if number % 2 else (1, 0)
        took = {place: timed(pair[place], world) for place in order}
        pairs.append((took[0], took[1]))
    return Comparison(
        statistics.median(hand.clock for hand, _ in pairs) / steps * 1e3,
        statistics.median(ours.clock for _, ours in pairs) / steps * 1e3,
        statistics.median(ours.clock / hand.clock for hand, ours in pairs),
        statistics.median(ours.processors / hand.processors for hand, ours in pairs),
    )


def one_rank(steps: int, blocks: int) -> int:
    """Measure in this process, one of two or alone; the first one prints."""
    torch.set_num_threads(1)
    exceeded = 0
    with joined_world("cpu") as world:
        rows = []
        for variant in VARIANTS:
            found = compare(variant, steps, blocks, world)
            exceeded += found.ratio > BUDGET
            milliseconds = [f"{found.by_hand_ms:.2f}", f"{found.ours_ms:.2f}"]
            ratios = [f"{found.ratio:.3f}", f"{found.processor_ratio:.3f}"]
            rows.append([variant.name, *milliseconds, *ratios])
        if world.rank == 0:
            head = f"{world.world_size} processes" if world.world_size > 1 else "1 process"
            print(table([head, "by hand ms", "ours ms", "ratio", "processor"], rows))
    return int(exceeded > 0)


def main() -> int:
    """Start the two processes; 1 if the budget is exceeded."""
    parser = argparse.ArgumentParser(description="our DDP loop next to a hand-written one")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--one", action="store_true", help="in one process")
    options = parser.parse_args()
    options.steps -= options.steps % 4  # whole groups, which the hand-written loop divides by
    if options.one or World.launched():
        return one_rank(options.steps, options.blocks)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    words = [sys.executable, "-m", "benchmarks.ddp_scaling"]
    words += ["--steps", str(options.steps), "--blocks", str(options.blocks)]
    ranks = [
        subprocess.Popen(
            words, env={**os.environ, **meet, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    try:
        return max(abs(rank.wait()) for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()


if __name__ == "__main__":
    raise SystemExit(main())
