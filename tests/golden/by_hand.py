"""Each technique as anybody would write it in plain torch: the loops that ours must equal."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import update_bn

from tests.golden.world import BATCHES, EPOCHS, STEPS, TRAIN, evaluated, filled, loss_of, net, walk

Curve = list[float]


def plain(
    optimizer_of: Callable[[nn.Module], Optimizer],
    before_move: Callable[[nn.Module], Any] = lambda network: None,
    rate: Callable[[int, Optimizer], None] = lambda step, optimizer: None,
) -> Curve:
    """Zero, forward, backward, move."""
    network = net()
    optimizer = optimizer_of(network)

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        rate(count, optimizer)
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        before_move(network)
        optimizer.step()
        return loss

    return walk(step)


def sgd(network: nn.Module) -> Optimizer:
    return SGD(network.parameters(), lr=0.1)


def momentum(network: nn.Module) -> Optimizer:
    return SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)


def adamw(network: nn.Module) -> Optimizer:
    return AdamW(network.parameters(), lr=0.01, fused=True)


def ema() -> Curve:
    """Training losses, then the averaged network's losses after each epoch."""
    network = net()
    average, optimizer, found = copy.deepcopy(network), sgd(network), []

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            new, old = network.state_dict(), average.state_dict()
            for name, value in old.items():
                if value.is_floating_point():
                    value.lerp_(new[name], 1.0 - 0.9)
                else:
                    value.copy_(new[name])
        return loss

    return walk(step, lambda epoch: found.append(evaluated(average))) + found


def swa() -> Curve:
    """The plain mean from the third epoch on, its statistics measured before each evaluation."""
    network = net()
    optimizer, means, found = sgd(network), [], []

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        return loss

    def after(epoch: int) -> None:
        if epoch < 3:
            found.append(evaluated(network))
            return
        now = [parameter.detach().clone() for parameter in network.parameters()]
        if means:
            for mean, value in zip(means, now, strict=True):
                mean.lerp_(value, 1.0 / (epoch - 2))
        else:
            means.extend(now)
        averaged = copy.deepcopy(network)
        with torch.no_grad():
            for parameter, mean in zip(averaged.parameters(), means, strict=True):
                parameter.copy_(mean)
        update_bn([batch["x"] for batch in TRAIN], averaged)
        found.append(evaluated(averaged))

    return walk(step, after) + found


def accumulate(steps: int, reduction: str) -> Curve:
    """Groups of batches within an epoch; the last group is short, and its last batch smaller."""
    network = net()
    optimizer = sgd(network)

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        place = count % BATCHES
        first = place - place % steps
        group = TRAIN[first : min(first + steps, BATCHES)]
        sizes = [len(one["x"]) for one in group]
        if place == first:
            optimizer.zero_grad()
        loss = loss_of(network, batch)
        supposed = sizes[0] * len(group)
        share = len(batch["x"]) / supposed if reduction == "mean" else 1.0
        (loss * share).backward()
        if place == first + len(group) - 1:
            if reduction == "mean" and sum(sizes) != supposed:
                for parameter in network.parameters():
                    assert parameter.grad is not None
                    parameter.grad.mul_(supposed / sum(sizes))
            optimizer.step()
        return loss

    return walk(step)


def amp(dtype: torch.dtype) -> Curve:
    """Forward and loss in half precision; float16 with a scaler that overflows at first."""
    network = net()
    optimizer = sgd(network)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, enabled=dtype is torch.float16)

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = loss_of(network, batch)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return walk(step)


def clipped_norm(network: nn.Module) -> None:
    nn.utils.clip_grad_norm_(network.parameters(), 0.5)


def clipped_value(network: nn.Module) -> None:
    nn.utils.clip_grad_value_(network.parameters(), 0.05)


def warmup_cosine(step: int, optimizer: Optimizer) -> None:
    """Ten steps up, then half a cosine over the other forty, to a tenth."""
    full = 0.2
    after = max(0.0, step - 10)
    share = 0.1 + (1 - 0.1) * (1 + math.cos(math.pi * (after / (STEPS - 10)))) / 2
    rate = full * share
    optimizer.param_groups[0]["lr"] = rate if step >= 10 else 0.0 + (rate - 0.0) * (step / 10)


def ramps(step: int, optimizer: Optimizer) -> None:
    """Biases come down from 0.3 while all else rises, and momentum rises, over fifteen steps."""
    share = 1 + (0.01 - 1) * ((step // BATCHES) / EPOCHS)
    for group in optimizer.param_groups:
        start = 0.3 if group["kind"] == "bias" else 0.0
        end = 0.1 * share
        group["lr"] = end if step >= 15 else start + (end - start) * (step / 15)
        group["momentum"] = 0.937 if step >= 15 else 0.8 + (0.937 - 0.8) * (step / 15)


def by_kind(network: nn.Module) -> Optimizer:
    """Weights with decay; the scales of norms and biases without."""
    kinds: dict[str, list[nn.Parameter]] = {"weight": [], "norm": [], "bias": []}
    for name, parameter in network.named_parameters():
        kind = "bias" if name.endswith("bias") else "norm" if "norm" in name else "weight"
        kinds[kind].append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": kinds["weight"], "kind": "weight", "weight_decay": 5e-3},
        {"params": kinds["norm"], "kind": "norm", "weight_decay": 0.0},
        {"params": kinds["bias"], "kind": "bias", "weight_decay": 0.0},
    ]
    return SGD(groups, lr=0.1, momentum=0.937, fused=True)


def one_cycle() -> Curve:
    """torch's own, a step each step."""
    network = net()
    optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9)
    schedule = OneCycleLR(optimizer, max_lr=0.3, total_steps=STEPS, pct_start=0.2)

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        if count < STEPS - 1:
            schedule.step()
        return loss

    return walk(step)


def frozen() -> Curve:
    """Stem and norm rest for two epochs, statistics too."""
    network = net()
    optimizer = momentum(network)
    resting = [network.stem, network.norm]

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        rests = count < 2 * BATCHES
        for module in resting:
            module.requires_grad_(not rests)
        network.norm.train(not rests)
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        return loss

    return walk(step)


def layer_decay(network: nn.Module) -> Optimizer:
    """Half the rate for each layer further from the output."""
    layers = [
        [*network.stem.parameters(), *network.norm.parameters()],
        list(network.blocks[0].parameters()),
        list(network.blocks[1].parameters()),
        list(network.head.parameters()),
    ]
    groups: list[dict[str, Any]] = [
        {"params": layer, "lr": 0.02 * 0.5 ** (3 - depth)} for depth, layer in enumerate(layers)
    ]
    return AdamW(groups, lr=0.02, fused=True)


def two_optimizers() -> Curve:
    """A network, and a critic of its outputs that moves every second step by another optimizer."""
    network, critic = net(), filled(nn.Linear(3, 1), stream=2)
    main = SGD(network.parameters(), lr=0.1, momentum=0.9)
    other = Adam(critic.parameters(), lr=0.02)
    seen: Curve = []

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        main.zero_grad()
        loss = loss_of(network, batch) + 0.1 * critic(network(batch["x"])).mean()
        loss.backward()
        main.step()
        total = loss.detach()
        if count % 2 == 0:
            other.zero_grad()
            judged = (critic(network(batch["x"]).detach()) - 1).square().mean()
            judged.backward()
            other.step()
            total = total + judged.detach()
        seen.append(float(total))
        return total

    return walk(step)


def plateau() -> Curve:
    """Halved where the held-out loss has not become better by a tenth."""
    network = net()
    optimizer = sgd(network)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=0, threshold=0.1
    )

    def step(count: int, batch: dict[str, Any]) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        return loss

    return walk(step, lambda epoch: schedule.step(evaluated(network)))
