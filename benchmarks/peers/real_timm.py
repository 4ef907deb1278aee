"""timm's training recipe on benchmarks/real/fashion_mnist and sign_digits.

timm's train.py is not in its wheel, so this is its loop in short, from the parts the script is made
of: create_model, create_loader, create_optimizer_v2, create_scheduler_v2, ModelEmaV3 and timm's
label smoothing, called in its order. Files, parts, sizes, epochs and batches are ours, as are
bfloat16 and channels_last; `RECIPES` holds what one would give that script on its command line.
The epoch that is best on val is kept, and test is scored once.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image, ImageOps
from timm.data.loader import create_loader
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils.metrics import AverageMeter, accuracy
from timm.utils.model_ema import ModelEmaV3
from timm.utils.random import random_seed
from torch import nn
from torch.utils.data import Dataset

SPLITS = Path(__file__).resolve().parents[1] / "real" / "splits"
CPU = torch.device("cpu")
_IDX_HEADER = {"images-idx3": 16, "labels-idx1": 8}

Parts = dict[str, "Pictures"]


@dataclass(frozen=True)
class Recipe:
    """What is told to train.py."""

    parts: Callable[[Path], Parts]
    size: tuple[int, int, int]
    epochs: int
    batch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lr: float
    weight_decay: float
    smoothing: float
    ema_decay: float
    warmup_epochs: int
    augment: dict[str, Any] = field(default_factory=dict)


class Pictures(Dataset[Any]):
    """Pictures and their classes; `open` makes a PIL image of an entry."""

    def __init__(
        self, entries: Sequence[Any], labels: Sequence[int], open: Callable[[Any], Image.Image]
    ) -> None:
        self.entries = entries
        self.labels = labels
        self.open = open
        self.transform: Callable[[Image.Image], Any] | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        assert self.transform is not None, "create_loader sets it"
        return self.transform(self.open(self.entries[place])), int(self.labels[place])


def fashion_mnist(data: Path) -> Parts:
    """The IDX files; the rows of the list are val."""
    images, labels = _idx(data, "train")
    rows = np.loadtxt(SPLITS / "fashion_mnist_val.txt", dtype=np.int64)
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[rows] = True
    return {
        "train": Pictures(images[~chosen], labels[~chosen], Image.fromarray),
        "val": Pictures(images[chosen], labels[chosen], Image.fromarray),
        "test": Pictures(*_idx(data, "t10k"), Image.fromarray),
    }


def _idx(data: Path, part: str) -> tuple[Any, Any]:
    read = []
    for kind, header in _IDX_HEADER.items():
        found = gzip.decompress((data / f"{part}-{kind}-ubyte.gz").read_bytes())
        read.append(np.frombuffer(found, dtype=np.uint8, offset=header))
    images, labels = read
    return images.reshape(len(labels), 28, 28), labels


def sign_digits(data: Path) -> Parts:
    """The photos that the lists name, opened each time they are needed."""

    def of(part: str) -> Pictures:
        names = (SPLITS / f"sign_digits_{part}.txt").read_text(encoding="utf-8").split()
        files = [data / "Dataset" / name for name in names]
        return Pictures(files, [int(name.split("/")[0]) for name in names], _photo)

    return {part: of(part) for part in ("train", "val", "test")}


def _photo(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return ImageOps.exif_transpose(file).convert("RGB")


RECIPES = {
    "fashion_mnist": Recipe(
        parts=fashion_mnist,
        size=(1, 28, 28),
        epochs=13,
        batch=128,
        mean=(0.286,),
        std=(0.353,),
        lr=0.004,
        weight_decay=0.05,
        smoothing=0.1,
        ema_decay=0.998,
        warmup_epochs=1,
        augment={"scale": (0.7, 1.0), "hflip": 0.5, "color_jitter": 0.0},
    ),
    "sign_digits": Recipe(
        parts=sign_digits,
        size=(3, 64, 64),
        epochs=40,
        batch=32,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        lr=0.002,
        weight_decay=0.05,
        smoothing=0.1,
        ema_decay=0.99,
        warmup_epochs=3,
        augment={"scale": (0.5, 1.0), "hflip": 0.5, "color_jitter": 0.3, "re_prob": 0.1},
    ),
}


def main() -> int:
    """One line of JSON for each seed."""
    parser = argparse.ArgumentParser(description="timm's training recipe")
    parser.add_argument("--set", choices=sorted(RECIPES), required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder of that set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--network", default="resnet10t")
    parser.add_argument("--batches", type=int, help="of an epoch, to see that it runs")
    given = parser.parse_args()
    recipe = RECIPES[given.set]
    for seed in given.seeds:
        random_seed(seed)
        wall, cpu = time.perf_counter(), time.process_time()
        parts = recipe.parts(given.data)
        model = timm.create_model(given.network, num_classes=10, in_chans=recipe.size[0])
        model = model.to(memory_format=torch.channels_last)
        best = train(model, parts, recipe, given.epochs or recipe.epochs, given.batches)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        outcome = {
            "who": f"timm {timm.__version__} {given.network}",
            "seed": seed,
            "scores": {"test/accuracy": score(best, loader(parts["test"], recipe, False))},
            "wall_s": wall,
            "cpu_s": cpu,
            "parameters": sum(one.numel() for one in model.parameters()),
        }
        print(json.dumps(outcome), flush=True)
    return 0


def loader(part: Pictures, recipe: Recipe, training: bool) -> Any:
    """As train.py makes it on a CPU; a picture is judged whole (crop_pct 1)."""
    return create_loader(
        part,  # type: ignore[arg-type]
        input_size=recipe.size,
        batch_size=recipe.batch,
        is_training=training,
        mean=recipe.mean,
        std=recipe.std,
        num_workers=0,
        crop_pct=1.0,
        use_prefetcher=False,
        persistent_workers=False,
        device=CPU,
        **(recipe.augment if training else {}),
    )


def train(
    model: nn.Module, parts: Parts, recipe: Recipe, epochs: int, batches: int | None
) -> nn.Module:
    """The averaged model at its best on val."""
    made, judged = loader(parts["train"], recipe, True), loader(parts["val"], recipe, False)
    optimizer = create_optimizer_v2(
        model, opt="adamw", lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    schedule, count = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=min(recipe.warmup_epochs, epochs - 1),
        warmup_lr=1e-5,
        step_on_epochs=False,
        updates_per_epoch=len(made),
    )
    assert schedule is not None
    loss_of = LabelSmoothingCrossEntropy(recipe.smoothing)
    average = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True)
    best, reached, updates = copy.deepcopy(average.module), -1.0, 0
    for epoch in range(min(count, epochs)):
        model.train()
        for place, (x, target) in enumerate(made):
            if place == batches:
                break
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            average.update(model, step=updates)
            schedule.step_update(num_updates=updates)
        value = score(average.module, judged)
        print(f"epoch {epoch + 1}: val/accuracy {value:.4f}", file=sys.stderr, flush=True)
        schedule.step(epoch + 1, value)
        if value > reached:
            best, reached = copy.deepcopy(average.module), value
    return best


@torch.no_grad()
def score(model: nn.Module, judged: Any) -> float:
    """The share of right answers."""
    model.eval()
    right = AverageMeter()
    for x, target in judged:
        with torch.autocast("cpu", torch.bfloat16):
            answers = model(x.contiguous(memory_format=torch.channels_last))
        right.update(accuracy(answers.float(), target)[0].item(), len(target))
    return float(right.avg) / 100


if __name__ == "__main__":
    sys.exit(main())
