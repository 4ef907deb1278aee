"""What the loop costs per step beyond a hand-written one, on a step that does almost nothing.

    python -m benchmarks.loop_overhead

One process, one thread, one core; blocks of an epoch each alternate with the hand-written loop,
the median difference counts. Budgets: 20 us bare, 120 us with bar, logger, loss and accuracy
meters and checkpoints. A separate run compares the loss curves bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.near_empty import (
    BATCH_SIZE,
    HandWritten,
    Pair,
    alternate,
    make_model,
    make_optimizer,
    make_pairs,
    pin_to_one_core,
    table,
)
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import BaseHook, CheckpointHook, LoggerHook, ProgressBarHook
from cvtrainer.logger import FileLogger, JsonlLogger
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer

BUDGETS_US = {"bare": 20.0, "equipped": 120.0}


class LossCurve(BaseHook):
    """Keeps every loss, still on the device."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []

    def after_step(self, stage: Any) -> None:
        """Copy the reference; reading it would wait."""
        self.losses.append(stage["context"].get("loss"))


def as_batches(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """The same tensors in the form of our batches."""
    meta = [{"index": list(range(k * BATCH_SIZE, (k + 1) * BATCH_SIZE))} for k in range(len(pairs))]
    return [
        {"x": x, "target": {"class_id": y}, "meta": facts}
        for (x, y), facts in zip(pairs, meta, strict=True)
    ]


def bare(batches: list[dict[str, Any]], folder: Path) -> Trainer:
    """No hooks, no meters."""
    model = make_model()
    return Trainer(model, nn.CrossEntropyLoss(), make_optimizer(model), {"train": batches})


def equipped(batches: list[dict[str, Any]], folder: Path) -> Trainer:
    """Bar, logger, loss and accuracy meters, a checkpoint each epoch."""
    model = make_model()
    run = RunFolder.create("benchmark", "loop", fixed=folder / "run")
    writers = (FileLogger(), JsonlLogger())
    for writer in writers:
        writer.open(run, None)
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        make_optimizer(model),
        {"train": batches},
        hooks=[ProgressBarHook(), LoggerHook(), CheckpointHook(save_dir=str(folder), save_freq=1)],
        meters=[LossMeter(), AccuracyMeter()],
        settings=StageSettings(writers=writers),
        run=run,
    )


def epoch_of(trainer: Trainer) -> Callable[[], float]:
    """A block: one more epoch of this trainer, in seconds."""
    done = 0

    def block() -> float:
        nonlocal done
        done += 1
        start = time.perf_counter()
        trainer.train(done)
        return time.perf_counter() - start

    return block


def curve_is_equal(steps: int) -> bool:
    """Whether each loss equals the hand-written loop's, bit for bit."""
    pairs = make_pairs(steps)
    curve, model = LossCurve(), make_model()
    loaders = {"train": as_batches(pairs)}
    Trainer(model, nn.CrossEntropyLoss(), make_optimizer(model), loaders, hooks=[curve]).train(1)
    by_hand = HandWritten().curve(pairs)
    return torch.equal(torch.stack(curve.losses), torch.stack(by_hand))


def main() -> int:
    """Print the table; 1 if a budget is exceeded or a curve differs."""
    parser = argparse.ArgumentParser(description="loop cost per step")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=30)
    options = parser.parse_args()
    pin_to_one_core()
    batches = as_batches(make_pairs(options.steps))
    equal = curve_is_equal(options.steps)
    rows, failed = [], not equal
    for label, build in (("bare", bare), ("equipped", equipped)):
        with (
            tempfile.TemporaryDirectory() as folder,
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stderr(nowhere),
        ):
            block = epoch_of(build(batches, Path(folder)))
            cost = alternate(block, steps=options.steps, blocks=options.blocks)
        over = cost.difference_us > BUDGETS_US[label]
        failed |= over
        rows.append(
            [
                label,
                f"{cost.by_hand_us:.1f}",
                f"{cost.with_loop_us:.1f}",
                f"{cost.difference_us:.1f}",
                f"{BUDGETS_US[label]:.0f}{' over' if over else ''}",
                f"{cost.ratio:.2f}",
                "yes" if equal else "NO",
            ]
        )
    header = ["loop", "by hand us", "ours us", "added us", "budget us", "ratio", "curve equal"]
    print(table(header, rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
