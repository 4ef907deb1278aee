"""Ways of training that two ranks and one process must agree on; run as a program, one rank of two.

    python -m tests.ddp.cases FOLDER        with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set

Each rank leaves FOLDER/rank<N>.pt with what came out of every case. All compute in float64 unless a
case says otherwise, so that a difference is one of arithmetic order and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.pieces import in_pieces
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import (
    AccumulateHook,
    AMPHook,
    BaseHook,
    ClipGradientsHook,
    DDPHook,
    EMAHook,
    FreezeHook,
    FSDPHook,
    NanGuardHook,
    SWAHook,
)
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.protocols import Batch, UpdateResult
from cvtrainer.trainer import Trainer
from tests.ddp.meter_cases import KINDS, measured

STEPS = 10
GLOBAL_BATCH = 6
TRAIN, VAL = 19, 13
"""Neither divides: the last batch of an epoch leaves the second rank without a sample."""
FEATURES, CLASSES = 5, 3


class Samples:
    """A data set of random points; the class follows from the point."""

    def __init__(self, length: int, dtype: torch.dtype, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(length, FEATURES, generator=generator, dtype=dtype)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = self.x[index]
        label = int(x.sum() > 0) + int(x[0] > 0)
        return {"x": x, "target": {"class_id": torch.tensor(label)}, "meta": {"index": index}}


class Net(nn.Module):
    """Two layers and a buffer that training moves."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 7)
        self.blocks = nn.ModuleList([nn.Linear(7, 7) for _ in range(2)])
        self.last = nn.Linear(7, CLASSES)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        x = torch.tanh(self.first(x))
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.last(x)


class TwoUpdates:
    """A body and a head in turns: the head alone, then the body through the head."""

    def __init__(self) -> None:
        self.networks: Mapping[str, nn.Module] = {
            "body": nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh()),
            "head": nn.Linear(7, CLASSES),
        }
        self._used = self.networks

    def updates(self) -> Sequence[Any]:
        return (_Part(self, "head"), _Part(self, "body"))

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        self._used = networks

    def evaluate(self, batch: Batch) -> UpdateResult:
        return self.compute(batch, learns="body")

    def compute(self, batch: Batch, *, learns: str) -> UpdateResult:
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns == "body"):
            features = self._used["body"](batch["x"])
        output = self._used["head"](features)
        loss = nn.functional.cross_entropy(output, batch["target"]["class_id"])
        return UpdateResult(loss, {}, {"output": output})


@dataclass(frozen=True)
class _Part:
    task: TwoUpdates
    name: str
    every: int = 1

    @property
    def networks(self) -> Sequence[str]:
        return (self.name,)

    def compute(self, batch: Batch) -> UpdateResult:
        return self.task.compute(batch, learns=self.name)


class Exchanges(BaseHook):
    """How many collectives gradients took, batch by batch."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._before = 0
        self.count = 0

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.calls.append(self.count - self._before)
            self._before = self.count


class SaveOnce(BaseHook):
    """So that whoever looks before a save does."""

    def after_epoch(self, stage: Any) -> None:
        if stage.epoch == 1:
            with TemporaryDirectory() as folder:
                stage.trainer.save(Path(folder) / "one.pth")
                stage.trainer.flush_saves()


@dataclass(frozen=True)
class Case:
    """How it is spread over two ranks, and what both have in common."""

    spread: Callable[[], BaseHook] = DDPHook
    hooks: Callable[[], list[BaseHook]] = list
    dtype: torch.dtype = torch.float64
    accumulate: int = 1
    bound: float | None = None
    """How far two ranks may be from one process where they compute or exchange less precisely."""
    task: Callable[[], Any] | None = None
    optimizer: Callable[[Any], torch.optim.Optimizer] = field(
        default=lambda parameters: torch.optim.AdamW(parameters, lr=0.05)
    )


def _fsdp(**options: Any) -> Callable[[], BaseHook]:
    return lambda: FSDPHook(blocks=["Linear"], **options)


CASES: Mapping[str, Case] = {
    "plain": Case(),
    "plain float32": Case(dtype=torch.float32),
    "static graph, small buckets": Case(lambda: DDPHook(static_graph=True, bucket_mb=0.0001)),
    "own buffers": Case(lambda: DDPHook(broadcast_buffers=False)),
    "exchange in bfloat16": Case(
        lambda: DDPHook(compression="bfloat16"), dtype=torch.float32, bound=0.02
    ),
    "exchange in float16": Case(
        lambda: DDPHook(compression="float16"), dtype=torch.float32, bound=0.002
    ),
    "ema": Case(hooks=lambda: [EMAHook(decay=0.7)]),
    "clip": Case(hooks=lambda: [ClipGradientsHook(max_norm=0.1)]),
    "clip values": Case(hooks=lambda: [ClipGradientsHook(value=0.01)]),
    "accumulation": Case(accumulate=3),
    "accumulation, static graph": Case(
        lambda: DDPHook(static_graph=True), accumulate=3, task=TwoUpdates
    ),
    "two optimizers": Case(task=TwoUpdates),
    "two optimizers, accumulation": Case(task=TwoUpdates, accumulate=2),
    "fsdp": Case(_fsdp()),
    "fsdp float32": Case(_fsdp(), dtype=torch.float32),
    "fsdp in one piece": Case(FSDPHook, optimizer=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "fsdp in one piece, ema": Case(FSDPHook, lambda: [EMAHook(decay=0.7)]),
    "fsdp by size": Case(lambda: FSDPHook(block_parameters=20, reshard_after_forward=False)),
    "fsdp in bfloat16": Case(
        _fsdp(dtype="bfloat16", reduce_dtype="float32"), dtype=torch.float32, bound=0.05
    ),
    "fsdp, ema, clip": Case(_fsdp(), lambda: [EMAHook(decay=0.7), ClipGradientsHook(max_norm=0.1)]),
    "freeze": Case(hooks=lambda: [FreezeHook(["first"], until=1)]),
    "fsdp, freeze": Case(_fsdp(), lambda: [FreezeHook(["first"], until=1)]),
    "fsdp, guarded": Case(_fsdp(), lambda: [NanGuardHook(check=["loss", "gradients"]), SaveOnce()]),
    "fsdp, swa": Case(_fsdp(), lambda: [SWAHook(start="1ep")]),
    "fsdp, float16 with a scaler": Case(
        _fsdp(), lambda: [AMPHook("float16")], torch.float32, bound=0.02
    ),
    "fsdp, clip values": Case(_fsdp(), lambda: [ClipGradientsHook(value=0.01)]),
    "fsdp, accumulation": Case(_fsdp(), accumulate=3),
    "fsdp, two optimizers, accumulation": Case(_fsdp(), task=TwoUpdates, accumulate=2),
}


def trainer_of(
    case: Case,
    world: World,
    hooks: Sequence[BaseHook] = (),
    settings: StageSettings | None = None,
) -> Trainer:
    """The case's trainer on this rank; every rank starts with weights of its own but rank 0's."""
    torch.manual_seed(world.rank)
    batch = GLOBAL_BATCH // world.world_size
    streams = {
        phase: LoaderStream(
            Samples(length, case.dtype, seed=length),
            options={"batch_size": batch, "shuffle": phase == "train"},
            training=phase == "train",
        )
        for phase, length in (("train", TRAIN), ("val", VAL))
    }
    if case.task is None:
        model: Any = Net().to(case.dtype)
        criterion: nn.Module | None = nn.CrossEntropyLoss()
    else:
        model, criterion = case.task(), None
        for network in model.networks.values():
            network.to(case.dtype)

    def optimizers(networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        parts = networks if case.task else {"main": networks["model"]}
        return {name: case.optimizer(part.parameters()) for name, part in parts.items()}

    spread = [case.spread()] if world.world_size > 1 else []
    group = [AccumulateHook(case.accumulate)] if case.accumulate > 1 else []
    return Trainer(
        model,
        criterion,
        optimizers,
        streams,
        hooks=[*spread, *group, *case.hooks(), *hooks],
        meters=[AccuracyMeter(topk=(1, 2)), LossMeter()],
        settings=settings or StageSettings(max_steps=STEPS, world=world),
    )


def outcome(trainer: Trainer) -> dict[str, Any]:
    """Everything that must agree, as whole tensors."""
    state = trainer.state_dict()
    return {
        "networks": state["networks"],
        "optimizers": {
            name: {place: dict(parts) for place, parts in one["state"].items()}
            for name, one in state["optimizers"].items()
        },
        "hooks": {name: part for name, part in state["hooks"].items() if name == "ema"},
        "metrics": state["metrics"],
        "steps": trainer.clock.step,
    }


def run(case: Case, world: World) -> dict[str, Any]:
    """Ten steps; also whether this rank held whole tensors, and when it exchanged gradients."""
    exchanges = Exchanges()
    trainer = trainer_of(case, world, [exchanges])
    for network in trainer._networks.used.values():
        if isinstance(network, nn.parallel.DistributedDataParallel) and case.bound is None:
            network.register_comm_hook(exchanges, _counted)
    trainer.train(100)
    found = outcome(trainer)
    found["in pieces"] = any(in_pieces(one) for one in trainer.model.parameters())
    found["exchanges"] = exchanges.calls
    return found


def _counted(exchanges, bucket):  # type: ignore[no-untyped-def]  # torch reads annotations
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    exchanges.count += 1
    return allreduce_hook(None, bucket)


def main(folder: Path) -> None:
    """All cases, one after the other, on this rank."""
    with joined_world("cpu") as world:
        found: dict[str, Any] = {name: run(case, world) for name, case in CASES.items()}
        found["meters"] = {name: measured(name, world, [DDPHook()]) for name in KINDS}
        torch.save(found, folder / f"rank{world.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
