"""What saving costs a training run: 100 MB every 20 steps of at least 0.3 s.

    python -m benchmarks.checkpoint

One process whose steps compute on one thread. Whole runs without saving, with ours, with ours that
waits (`asynchronous: false`) and with a plain `torch.save` of the same state take turns; the median
of their times counts. What is still being written when a run ends is waited for. Budget: 1.10 times
the run that saves nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.near_empty import table
from cvtrainer.hooks import BaseHook, CheckpointHook
from cvtrainer.trainer import Trainer

BUDGET = 1.10
WIDTH = 1024
LAYERS = 8
EVERY = 20
STEP_SECONDS = 0.3
PLAIN = "torch.save"


class PlainSave(BaseHook):
    """What one writes by hand: the state into one file, now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def after_step(self, stage: Any) -> None:
        """Every so many steps, like the others."""
        if stage.phase == "train" and stage.step % EVERY == 0:
            torch.save(stage.trainer.state_dict(), self.folder / "plain.pth")


def make_trainer(hooks: list[BaseHook], *, size: int, steps: int) -> Trainer:
    """Weights of 34 MB, and Adam's two moments of as much each."""
    torch.manual_seed(0)
    layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    batch = {"x": torch.randn(size, WIDTH), "target": {"class_id": torch.randint(10, (size,))}}
    batch["meta"] = {"index": list(range(size))}
    optimizer = torch.optim.Adam(model.parameters())
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, {"train": [batch] * steps}, hooks=hooks)


def ways(folder: Path) -> dict[str, Callable[[], list[BaseHook]]]:
    """The hooks of each way of saving."""

    def ours(asynchronous: bool) -> list[BaseHook]:
        hook = CheckpointHook(
            str(folder),
            save_freq=0,
            save_steps=EVERY,
            max_keep=1,
            save_last=False,
            asynchronous=asynchronous,
        )
        return [hook]

    return {
        "nothing saved": list,
        "ours": lambda: ours(True),
        "ours, waiting": lambda: ours(False),
        PLAIN: lambda: [PlainSave(folder)],
    }


def seconds(hooks: list[BaseHook], *, size: int, steps: int) -> float:
    """A whole run, until its last file is whole."""
    trainer = make_trainer(hooks, size=size, steps=steps)
    start = time.perf_counter()
    trainer.train(1)
    return time.perf_counter() - start


def size_for(step_seconds: float) -> int:
    """A batch with which a step takes at least so long."""
    size = 32
    while True:
        taken = seconds([], size=size, steps=3) / 3
        if taken >= step_seconds:
            return size
        size = max(size + 8, int(size * min(4.0, 1.1 * step_seconds / taken)))


def main() -> int:
    """Print the table; 1 if the budget is exceeded."""
    parser = argparse.ArgumentParser(description="what saving costs a run")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step-seconds", type=float, default=STEP_SECONDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = size_for(options.step_seconds)
    found: dict[str, list[float]] = {}
    megabytes = 0.0
    for _ in range(options.rounds):
        for name in ways(Path()):
            with tempfile.TemporaryDirectory() as place:
                hooks = ways(Path(place))[name]()
                found.setdefault(name, []).append(seconds(hooks, size=size, steps=options.steps))
                sizes = [path.stat().st_size / 1e6 for path in Path(place).iterdir()]
                megabytes = max([megabytes, *sizes])
    medians = {name: statistics.median(times) for name, times in found.items()}
    without = medians["nothing saved"]
    rows = [
        [name, f"{took:.1f}", f"{1000 * took / options.steps:.0f}", f"{took / without:.3f}"]
        for name, took in medians.items()
    ]
    print(table(["saving", "run s", "ms a step", "ratio"], rows))
    count = options.steps // EVERY
    print(
        f"{count} checkpoints of {megabytes:.0f} MB, one every {EVERY} steps; budget {BUDGET:.2f}"
    )
    return int(medians["ours"] / without > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
