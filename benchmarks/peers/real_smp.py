"""segmentation-models-pytorch in a loop as its users write it, for benchmarks/real/pets.

A U-Net of that package on random weights, torchvision's transforms, cross entropy and Dice, AdamW
with a cosine: the same pictures, lists, size, epochs and batches as ours. The best epoch is chosen
on val, and test is scored once.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

SPLITS = Path(__file__).resolve().parents[1] / "real" / "splits"
VALUES = {"pets": (255, 0, 1, 255), "pets_border": (255, 0, 1, 2)}
"""The class of each number of the mask files; 255 is none."""
EPOCHS = 300
EVAL_EVERY = 10
BATCH = 12
SIDE = 128
IGNORED = 255

Pair = tuple[tv_tensors.Image, tv_tensors.Mask]


def main() -> int:
    """One line of JSON for each seed."""
    parser = argparse.ArgumentParser(description="segmentation-models-pytorch in a plain loop")
    parser.add_argument("--set", choices=sorted(VALUES), default="pets")
    parser.add_argument("--data", type=Path, required=True, help="the folder of that set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--encoder", default="mobilenet_v2")
    given = parser.parse_args()
    parts = {
        part: [read(given.data, name, VALUES[given.set]) for name in names(part)]
        for part in ("train", "val", "test")
    }
    classes = len(set(VALUES[given.set]) - {IGNORED})
    for seed in given.seeds:
        torch.manual_seed(seed)
        network = smp.Unet(
            given.encoder,
            encoder_weights=None,
            decoder_channels=(128, 64, 32, 16, 16),
            classes=classes,
        )
        wall, cpu = time.perf_counter(), time.process_time()
        best = train(network, parts, classes, given.epochs)
        outcome = {
            "who": f"smp unet {given.encoder}",
            "seed": seed,
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "scores": {"test/miou": miou(best, parts["test"], classes)},
            "parameters": sum(one.numel() for one in network.parameters()),
        }
        print(json.dumps(outcome), flush=True)
    return 0


def train(network: nn.Module, parts: dict[str, list[Pair]], classes: int, epochs: int) -> nn.Module:
    """The network as it was at its best on val."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    steps = epochs * (len(parts["train"]) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORED)
    entropy = nn.CrossEntropyLoss(ignore_index=IGNORED)
    best, reached = network, -1.0
    for epoch in range(1, epochs + 1):
        network.train()
        for pictures, masks in batches(parts["train"]):
            with torch.autocast("cpu", torch.bfloat16):
                scores = network(pictures)
            loss = entropy(scores.float(), masks) + dice(scores.float(), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % EVAL_EVERY == 0 or epoch == epochs:
            value = miou(network, parts["val"], classes)
            print(f"epoch {epoch}: val/miou {value:.4f}", file=sys.stderr, flush=True)
            if value > reached:
                best, reached = copy.deepcopy(network), value
    return best


def batches(pairs: list[Pair]) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of augmented pictures, its incomplete last batch left out."""
    order = torch.randperm(len(pairs)).tolist()
    for start in range(0, len(order) - BATCH + 1, BATCH):
        yield stacked([pairs[place] for place in order[start : start + BATCH]], lively())


def lively() -> Callable[..., Any]:
    """What training does to a picture and its mask."""
    return v2.Compose(
        [
            v2.RandomResizedCrop((SIDE, SIDE), scale=(0.25, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply(
                [v2.RandomRotation(20, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED})], 0.4
            ),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.08),
            v2.RandomGrayscale(0.1),
        ]
    )


def stacked(pairs: list[Pair], change: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """Normalised pictures `[N, 3, H, W]` and classes `[N, H, W]`."""
    changed = [change(picture, mask) for picture, mask in pairs]
    pictures = torch.stack([picture for picture, _ in changed]).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (pictures - mean) / deviation, torch.stack([mask[0] for _, mask in changed]).long()


@torch.no_grad()
def miou(network: nn.Module, pairs: list[Pair], classes: int) -> float:
    """Mean over classes of intersection over union, of all places that have a class."""
    network.eval()
    matrix = torch.zeros(classes, classes, dtype=torch.long)
    plain = v2.Resize((SIDE, SIDE), antialias=True)
    for start in range(0, len(pairs), 30):
        pictures, masks = stacked(pairs[start : start + 30], plain)
        counts = masks != IGNORED
        found = network(pictures).argmax(dim=1)[counts]
        matrix += (masks[counts] * classes + found).bincount(minlength=classes**2).view_as(matrix)
    both = matrix.diagonal()
    return float((both / (matrix.sum(0) + matrix.sum(1) - both)).mean())


def read(data: Path, name: str, values: tuple[int, ...]) -> Pair:
    """A picture and its mask in class numbers."""
    with Image.open(data / "images" / f"{name}.jpg") as file:
        picture = tv_tensors.Image(file.convert("RGB"))
    with Image.open(data / "annotations" / "trimaps" / f"{name}.png") as file:
        numbers = torch.tensor(list(file.tobytes()), dtype=torch.long).view(1, *picture.shape[1:])
    return picture, tv_tensors.Mask(torch.tensor(values, dtype=torch.uint8)[numbers])


def names(part: str) -> list[str]:
    """The names of that part."""
    return (SPLITS / f"pets_{part}.txt").read_text(encoding="utf-8").split()


if __name__ == "__main__":
    sys.exit(main())
