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
from cvtrainer.ddp.wrap import gradient_averaging
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
    ) -> None:
        if backend not in (None, "nccl", "gloo"):
            raise UserError(f'hooks.ddp: backend is {backend!r}; it must be "nccl" or "gloo"')
        self.find_unused_parameters = find_unused_parameters
        self.sync_batchnorm = sync_batchnorm
        self.backend = backend
        self._notes: list[str] = []

    def configure(self, plan: Plan) -> None:
        if running_processes() == 1:
            return
        plan.wrap = gradient_averaging(
            find_unused_parameters=self.find_unused_parameters, group=self._group(plan.device)
        )
        if self.sync_batchnorm and plan.device.type != "cuda":
            self._notes.append(
                "ddp.sync_batchnorm: torch synchronises batch statistics on GPUs only; "
                "each process keeps its own here"
            )
        elif self.sync_batchnorm:
            plan.sync_batchnorm = True

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
