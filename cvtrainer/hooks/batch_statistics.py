"""BatchNorm statistics measured anew, for weights that never trained as they are: an average's.

The statistics are the mean over batches of the training split, taken with everything else in
evaluation mode, so that dropout neither disturbs them nor draws. Which batches they are depends on
the epoch alone, and the global random state is put back; what is frozen is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.ddp.pieces import in_pieces
from cvtrainer.ddp.reduce import gather_states
from cvtrainer.ddp.world import World
from cvtrainer.engine.prepare import delivery
from cvtrainer.engine.randomness import random_state, restore_random_state
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.freeze import FreezeHook


def learning_norms(stage: StageView) -> list[_BatchNorm]:
    """Layers whose statistics move in training."""
    trainer = stage.trainer
    frozen = {
        id(module)
        for hook in trainer.hooks.values()
        if isinstance(hook, FreezeHook)
        for module in hook.still
    }
    return [
        module
        for network in trainer.networks.values()
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        and module.training
        and module.track_running_stats
        and id(module) not in frozen
    ]


def measure_batch_statistics(
    stage: StageView, norms: Iterable[_BatchNorm], *, batches: int | None = None
) -> None:
    """Fill these layers' statistics from the training split, or its first `batches`."""
    trainer, norms = stage.trainer, list(norms)
    stream = trainer.streams["train"]
    deliver = delivery(trainer.plan)
    around = trainer.plan.autocast or nullcontext
    everybody = _needs_all_ranks(trainer.networks, norms)
    forward: Any = getattr(trainer.task, "predict", trainer.task.evaluate)
    with _measuring(trainer.networks, norms), computing_with(trainer, trainer.networks):
        for batch in islice(stream.epoch(max(1, stage.epoch)), batches):
            if everybody or batch.get("meta", {}).get("weight") != 0.0:
                with torch.no_grad(), around():
                    forward(deliver(batch, stream))
            trainer.borders.mark(stage.phase)
    _join_ranks(norms, trainer.world)


def _needs_all_ranks(networks: Mapping[str, nn.Module], norms: Iterable[_BatchNorm]) -> bool:
    """Whether a forward pass exchanges something: then fillers of an uneven end count as well."""
    sharded = any(in_pieces(one) for network in networks.values() for one in network.parameters())
    return sharded or any(isinstance(norm, nn.SyncBatchNorm) for norm in norms)


@contextmanager
def _measuring(networks: Mapping[str, nn.Module], norms: Iterable[_BatchNorm]) -> Iterator[None]:
    """Everything evaluates, and these layers take plain means of what they see."""
    modes = [(one, one.training) for network in networks.values() for one in network.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    random = random_state()
    try:
        for network in networks.values():
            network.eval()
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None
        yield
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, training in modes:
            module.training = training
        restore_random_state(random)


@contextmanager
def computing_with(trainer: Any, networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """The networks without what several processes wrap around them: no exchange takes place."""
    used = trainer._networks.used
    trainer.task.replace(networks)
    try:
        yield
    finally:
        trainer.task.replace(used)


def _join_ranks(norms: list[_BatchNorm], world: World) -> None:
    """Each rank has seen its part; every batch of all ranks counts once."""
    if world.world_size == 1:
        return
    own = [(norm.num_batches_tracked, norm.running_mean, norm.running_var) for norm in norms]
    ranks: list[list[tuple[Tensor, Tensor, Tensor]]] = gather_states(own, world)
    for place, norm in enumerate(norms):
        counts = torch.stack([rank[place][0] for rank in ranks])
        shares = (counts / counts.sum())[:, None]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean.copy_((shares * torch.stack([rank[place][1] for rank in ranks])).sum(0))
        norm.running_var.copy_((shares * torch.stack([rank[place][2] for rank in ranks])).sum(0))
        norm.num_batches_tracked.copy_(counts.sum())
