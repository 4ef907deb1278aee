"""Trains in several processes: averages gradients over them, with the options of torch's DDP.

The job joins and leaves the process group, streams serve each rank its part of every batch, and
the trainer merges meters, with or without this hook; what is chosen here is how networks are
wrapped. With one process it does nothing.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import distributed

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import running_processes
from cvtrainer.ddp.wrap import Averaging, gradient_averaging, without_exchange
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class DDPHook(BaseHook):
    """`backend` is for gradients; by default NCCL on GPUs and Gloo elsewhere."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        find_unused_parameters: bool = False,
        sync_batchnorm: bool = False,
        backend: Literal["nccl", "gloo"] | None = None,
        static_graph: bool = False,
        bucket_mb: float | None = None,
        broadcast_buffers: bool = True,
        compression: Literal["bfloat16", "float16"] | None = None,
    ) -> None:
        if backend not in (None, "nccl", "gloo"):
            raise UserError(f'hooks.ddp: backend is {backend!r}; it must be "nccl" or "gloo"')
        if compression not in (None, "bfloat16", "float16"):
            raise UserError(
                f'hooks.ddp: compression is {compression!r}; it must be "bfloat16" or "float16"'
            )
        if bucket_mb is not None and not bucket_mb > 0:
            raise UserError(f"hooks.ddp: bucket_mb is {bucket_mb}; it must be above 0")
        self.find_unused_parameters = find_unused_parameters
        self.sync_batchnorm = sync_batchnorm
        self.backend = backend
        self.static_graph = static_graph
        self.bucket_mb = bucket_mb
        self.broadcast_buffers = broadcast_buffers
        self.compression = compression
        self._notes: list[str] = []

    def configure(self, plan: Plan) -> None:
        if running_processes() == 1:
            return
        refuse_second_wrap(plan, "ddp")
        plan.wrap = gradient_averaging(
            Averaging(
                find_unused_parameters=self.find_unused_parameters,
                static_graph=self.static_graph,
                bucket_mb=self.bucket_mb,
                broadcast_buffers=self.broadcast_buffers,
                compression=self.compression,
                group=self._group(plan.device),
            )
        )
        if not self.static_graph:  # torch learns such a graph from an exchange, so it needs each
            plan.hold_exchange = without_exchange
        if self.sync_batchnorm:
            synchronise_batchnorm(plan, self._notes)

    def before_train(self, stage: StageView) -> None:
        for note in self._notes:
            stage.trainer.say(note)
        self._notes.clear()

    def _group(self, device: torch.device) -> distributed.ProcessGroup | None:
        """None means the group that all share, which has the right backend for the device."""
        if self.backend == "nccl" and device.type != "cuda":
            self._notes.append("hooks.ddp: there is no GPU for nccl here; gloo is used")
        if self.backend == "gloo" and device.type == "cuda":
            made = distributed.new_group(backend="gloo")
            assert isinstance(made, distributed.ProcessGroup), "all ranks are members"
            return made
        return None


def refuse_second_wrap(plan: Plan, own: str) -> None:
    """Networks are wrapped for several devices in one way only."""
    if plan.wrap is not None:
        raise UserError(
            "another hook has chosen how networks are spread over devices",
            where=f"hooks.{own}",
            todo="Keep one of ddp, fsdp and data_parallel.",
        )


def synchronise_batchnorm(plan: Plan, notes: list[str]) -> None:
    """Statistics over all processes, where torch can; else it goes without and says so."""
    if plan.device.type == "cuda":
        plan.sync_batchnorm = True
        return
    notes.append(
        "ddp.sync_batchnorm: torch synchronises batch statistics on GPUs only; "
        "each process keeps its own here"
    )
