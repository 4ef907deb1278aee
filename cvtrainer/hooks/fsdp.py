"""Trains in several processes that share the network: each keeps a part of the parameters.

Gradients and optimizer states are cut the same way, so that a network fits which would not on one
device alone. Gradients are averaged as `DDPHook` does, after each batch, and what was averaged is
gathered in parts. Checkpoints hold whole tensors unless `sharded_checkpoints` is set; then each
process writes its parts into a folder, which loads in any number of processes as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import in_pieces
from cvtrainer.ddp.shard import Sharding, come_to_rest, parameter_sharding
from cvtrainer.ddp.world import running_processes
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.ddp import refuse_second_wrap, synchronise_batchnorm

_KINDS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class FSDPHook(BaseHook):
    """`blocks` names the module classes that are gathered one at a time; else size decides."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        blocks: Sequence[str] = (),
        block_parameters: int = 1_000_000,
        reshard_after_forward: bool | None = None,
        dtype: Literal["bfloat16", "float16"] | None = None,
        reduce_dtype: Literal["bfloat16", "float16", "float32"] | None = None,
        cpu_offload: bool = False,
        sync_batchnorm: bool = False,
        sharded_checkpoints: bool = False,
    ) -> None:
        for name, kind in (("dtype", dtype), ("reduce_dtype", reduce_dtype)):
            if kind is not None and kind not in _KINDS:
                raise UserError(f"hooks.fsdp: {name} is {kind!r}; it must be {', '.join(_KINDS)}")
        if block_parameters < 1:
            raise UserError(
                f"hooks.fsdp: block_parameters is {block_parameters}; it must be 1 or more"
            )
        self.sharding = Sharding(
            blocks=(blocks,) if isinstance(blocks, str) else tuple(blocks),
            block_parameters=block_parameters,
            reshard_after_forward=reshard_after_forward,
            parameter_dtype=None if dtype is None else _KINDS[dtype],
            reduce_dtype=None if reduce_dtype is None else _KINDS[reduce_dtype],
            cpu_offload=cpu_offload,
        )
        self.sync_batchnorm = sync_batchnorm
        self.sharded_checkpoints = sharded_checkpoints
        self._notes: list[str] = []

    def configure(self, plan: Plan) -> None:
        if running_processes() == 1:
            return
        refuse_second_wrap(plan, "fsdp")
        plan.wrap = parameter_sharding(self.sharding, plan.device)
        plan.lockstep = True
        plan.settle = come_to_rest
        plan.sharded_checkpoints = self.sharded_checkpoints
        if self.sync_batchnorm:
            synchronise_batchnorm(plan, self._notes)

    def before_train(self, stage: StageView) -> None:
        for note in self._notes:
            stage.trainer.say(note)
        self._notes.clear()
        if running_processes() > 1:
            self._refuse_stale_optimizers(stage)

    def _refuse_stale_optimizers(self, stage: StageView) -> None:
        """One that was made before the network was cut would move what nobody computes with."""
        trainer = stage.trainer
        for optimizer in trainer.optimizers.values():
            for group in optimizer.param_groups:
                if not all(in_pieces(one) for one in group["params"]):
                    raise UserError(
                        "the optimizer was made before the network was sharded",
                        where="hooks.fsdp",
                        todo="Give the trainer a function that makes it from the networks.",
                    )
