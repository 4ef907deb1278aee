"""One step of torch's optimizers as a loop over parameters, as foreach, and as a fused kernel.

    python -m benchmarks.optimizer_kernels [--device cuda] [--threads 1]

The three take turns in one process; the smallest mean over nine turns counts. Why the fused kernel
is what a config gets where it says nothing: docs/experiments.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torchvision
from torch import nn
from torch.optim import SGD, Adagrad, AdamW, Optimizer

from benchmarks.near_empty import table

KERNELS: dict[str, dict[str, bool]] = {
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "SGD, momentum": (SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}),
    "AdamW": (AdamW, {"lr": 0.001}),
    "Adagrad": (Adagrad, {"lr": 0.001}),
}


def small_cnn(width: int) -> nn.Module:
    """Three convolutions with BatchNorm and a head: what an on-device model is made of."""
    sizes = (3, width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "three convolutions, 8 wide": lambda: small_cnn(8),
    "three convolutions, 64 wide": lambda: small_cnn(64),
    "mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "resnet18": torchvision.models.resnet18,
}


def measure(
    network: Callable[[], nn.Module], kind: type[Optimizer], words: dict[str, Any], device: str
) -> dict[str, float]:
    """Microseconds of one step with each kernel."""
    made: dict[str, Optimizer] = {}
    for name, kernel in KERNELS.items():
        parameters = list(network().to(device).parameters())
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 0.01)
        made[name] = kind(parameters, **words, **kernel)  # type: ignore[call-arg]
        made[name].step()
    count = 20 if sum(one.numel() for one in parameters) > 5_000_000 else 60
    turns: dict[str, list[float]] = {name: [] for name in KERNELS}
    for _ in range(9):
        for name, optimizer in made.items():
            start = time.perf_counter()
            for _ in range(count):
                optimizer.step()
            if device != "cpu":
                torch.cuda.synchronize()
            turns[name].append((time.perf_counter() - start) / count * 1e6)
    return {name: min(times) for name, times in turns.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    for shape, network in NETWORKS.items():
        for name, (kind, words) in OPTIMIZERS.items():
            found = measure(network, kind, words, given.device)
            rows.append(
                [
                    shape,
                    name,
                    *(f"{found[kernel]:,.0f}" for kernel in KERNELS),
                    f"{found['fused'] / found['loop']:.2f}",
                ]
            )
    print(table(["network", "optimizer", *(f"{one} [µs]" for one in KERNELS), "fused/loop"], rows))


if __name__ == "__main__":
    main()
