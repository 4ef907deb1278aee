"""Every technique twice: made with our parts, and by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from cvtrainer.hooks import (
    AccumulateHook,
    AMPHook,
    ClipGradientsHook,
    EMAHook,
    FreezeHook,
    LRSchedulerHook,
    SWAHook,
)
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.meters import LossMeter
from cvtrainer.optim import build_optimizer
from cvtrainer.protocols import Batch, UpdateResult
from cvtrainer.trainer import Trainer
from tests.golden import by_hand
from tests.golden.world import EPOCHS, TRAIN, VAL, filled, loss_of, net, stream

Curve = list[float]


class Losses(BaseHook):
    """The loss of each training batch, as it was before the step that it led to."""

    rank = Rank.RECORD

    def __init__(self) -> None:
        self.train: Curve = []
        self.val: Curve = []

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.train.append(float(stage["loss"]))

    def after_eval(self, stage: Any) -> None:
        self.val.append(stage["metrics"]["val/loss"])


def ours(
    optimizer: Callable[[nn.Module], Optimizer],
    *hooks: BaseHook,
    evaluate: bool = False,
    with_val: bool = False,
) -> Curve:
    """The curve of a trainer with these hooks."""
    network, losses = net(), Losses()
    data = {"train": stream(TRAIN)} | ({"val": stream(VAL)} if evaluate or with_val else {})
    trainer = Trainer(
        network,
        nn.CrossEntropyLoss(),
        optimizer(network),
        data,
        hooks=[*hooks, losses],
        meters=[LossMeter()],
    )
    trainer.train(EPOCHS)
    return losses.train + (losses.val if evaluate else [])


def built(kind: type[Optimizer], groups: Any = None, **words: Any) -> Any:
    """As the optimizer of a config is built."""
    return lambda network: build_optimizer(network, kind, words, {}, groups)


class Update:
    """One of two."""

    def __init__(self, name: str, network: str, every: int, compute: Any) -> None:
        self.name, self.networks, self.every, self.compute = name, (network,), every, compute


class WithCritic:
    """A network, and a critic of its outputs."""

    def __init__(self) -> None:
        self.networks = {"net": net(), "critic": filled(nn.Linear(3, 1), stream=2)}
        self.used: dict[str, nn.Module] = dict(self.networks)

    def updates(self) -> Sequence[Any]:
        return (Update("learn", "net", 1, self.learn), Update("judge", "critic", 2, self.judge))

    def learn(self, batch: Batch) -> UpdateResult:
        network, critic = self.used["net"], self.used["critic"]
        loss = loss_of(network, dict(batch)) + 0.1 * critic(network(batch["x"])).mean()
        return UpdateResult(loss, {}, {})

    def judge(self, batch: Batch) -> UpdateResult:
        outputs = self.used["net"](batch["x"]).detach()
        return UpdateResult((self.used["critic"](outputs) - 1).square().mean(), {}, {})

    def evaluate(self, batch: Batch) -> UpdateResult:
        return UpdateResult(loss_of(self.used["net"], dict(batch)), {}, {})

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        self.used = dict(networks)


def with_critic() -> Curve:
    """Two optimizers, one of them every second step."""
    task, losses = WithCritic(), Losses()
    optimizers = {
        "learn": SGD(task.networks["net"].parameters(), lr=0.1, momentum=0.9),
        "judge": Adam(task.networks["critic"].parameters(), lr=0.02),
    }
    Trainer(task, None, optimizers, {"train": stream(TRAIN)}, hooks=[losses]).train(EPOCHS)
    return losses.train


@dataclass(frozen=True)
class Technique:
    """Both ways to the same curve, and the feature rows that it shows."""

    ours: Callable[[], Curve]
    by_hand: Callable[[], Curve]
    rows: tuple[str, ...] = field(default=())


def _schedule(kind: str, by: Any = "step", metric: str = "val_loss", **words: Any) -> BaseHook:
    return LRSchedulerHook(kind, words, by=by, metric=metric)


TECHNIQUES: dict[str, Technique] = {
    "sgd": Technique(lambda: ours(by_hand.sgd), lambda: by_hand.plain(by_hand.sgd)),
    "momentum": Technique(
        lambda: ours(by_hand.momentum), lambda: by_hand.plain(by_hand.momentum), ("S4-48",)
    ),
    "adamw": Technique(
        lambda: ours(built(torch.optim.AdamW, lr=0.01)),
        lambda: by_hand.plain(by_hand.adamw),
        ("S1-34", "S2-100"),
    ),
    "ema": Technique(
        lambda: ours(by_hand.sgd, EMAHook(decay=0.9), evaluate=True), by_hand.ema, ("S0-98",)
    ),
    "swa": Technique(
        lambda: ours(by_hand.sgd, SWAHook(start="2ep"), evaluate=True),
        by_hand.swa,
    ),
    "accumulate_mean": Technique(
        lambda: ours(by_hand.sgd, AccumulateHook(steps=4)),
        lambda: by_hand.accumulate(4, "mean"),
    ),
    "accumulate_sum": Technique(
        lambda: ours(by_hand.sgd, AccumulateHook(steps=3, reduction="sum")),
        lambda: by_hand.accumulate(3, "sum"),
    ),
    "amp_bfloat16": Technique(
        lambda: ours(by_hand.sgd, AMPHook(dtype="bfloat16")),
        lambda: by_hand.amp(torch.bfloat16),
    ),
    "amp_float16": Technique(
        lambda: ours(by_hand.sgd, AMPHook(dtype="float16", init_scale=2.0**20)),
        lambda: by_hand.amp(torch.float16),
        ("S4-22",),
    ),
    "clip_norm": Technique(
        lambda: ours(by_hand.sgd, ClipGradientsHook(max_norm=0.5)),
        lambda: by_hand.plain(by_hand.sgd, by_hand.clipped_norm),
        ("S1-35", "S2-101"),
    ),
    "clip_value": Technique(
        lambda: ours(by_hand.sgd, ClipGradientsHook(value=0.05)),
        lambda: by_hand.plain(by_hand.sgd, by_hand.clipped_value),
        ("S2-101",),
    ),
    "warmup_cosine": Technique(
        lambda: ours(
            built(SGD, lr=0.2, fused=False),
            _schedule("cosine", final=0.1, warmup={"length": "20%", "delay": True}),
        ),
        lambda: by_hand.plain(
            lambda network: SGD(network.parameters(), lr=0.2), rate=by_hand.warmup_cosine
        ),
        ("S3-71", "S2-97"),
    ),
    "warmup_ramps": Technique(
        lambda: ours(
            built(SGD, {"no_decay": ["norm", "bias"]}, lr=0.1, momentum=0.937, weight_decay=5e-3),
            _schedule(
                "linear",
                by="epoch",
                final=0.01,
                warmup={"epochs": 1.5, "bias_lr": 0.3, "momentum": 0.8},
            ),
        ),
        lambda: by_hand.plain(by_hand.by_kind, rate=by_hand.ramps),
        ("S4-20", "S4-21", "S4-44", "S4-49", "S4-50", "S4-51", "S4-52"),
    ),
    "one_cycle": Technique(
        lambda: ours(
            lambda network: SGD(network.parameters(), lr=0.1, momentum=0.9),
            _schedule("OneCycleLR", max_lr=0.3, pct_start=0.2),
        ),
        by_hand.one_cycle,
        ("S1-33", "S1-36"),
    ),
    "freeze": Technique(
        lambda: ours(by_hand.momentum, FreezeHook(parts=["stem", "norm"], until="2ep")),
        by_hand.frozen,
    ),
    "layer_decay": Technique(
        lambda: ours(built(torch.optim.AdamW, {"layer_decay": 0.5}, lr=0.02)),
        lambda: by_hand.plain(by_hand.layer_decay),
    ),
    "two_optimizers": Technique(with_critic, by_hand.two_optimizers),
    "plateau": Technique(
        lambda: ours(
            by_hand.sgd,
            _schedule("plateau", by="epoch", factor=0.5, patience=0, threshold=0.1),
            with_val=True,
        ),
        by_hand.plateau,
        ("S2-97",),
    ),
}
