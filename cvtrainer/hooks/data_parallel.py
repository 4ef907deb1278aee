"""Trains on several GPUs of one process: each batch is divided among them, the network copied.

torch's DataParallel copies the network for every batch and has one Python process work for all
GPUs; `DDPHook` is faster wherever several processes can be started. With fewer than two GPUs, or in
several processes, it says so once and leaves everything as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import running_processes
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.ddp import refuse_second_wrap


class DataParallelHook(BaseHook):
    """`devices` are the numbers of the GPUs, the first one leading; by default all of them."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(self, devices: Sequence[int] | None = None) -> None:
        self.devices = None if devices is None else list(devices)
        if self.devices is not None and len(set(self.devices)) != len(self.devices):
            raise UserError(f"hooks.data_parallel: devices names one twice: {self.devices}")
        self._note = ""

    def configure(self, plan: Plan) -> None:
        there = torch.cuda.device_count() if plan.device.type == "cuda" else 0
        devices = list(range(there)) if self.devices is None else self.devices
        missing = [number for number in devices if not 0 <= number < there]
        if running_processes() > 1:
            self._note = "this run has several processes, which average their gradients instead"
        elif there < 2 or len(devices) < 2:
            count = "no GPU" if not there else "one GPU"
            self._note = f"it needs two GPUs and has {count}; training goes on without it"
        elif missing:
            raise UserError(
                f"there is no GPU {', '.join(map(str, missing))}; there are {there}",
                where="hooks.data_parallel.devices",
            )
        else:
            refuse_second_wrap(plan, "data_parallel")
            plan.device = torch.device("cuda", devices[0])
            plan.wrap = _divided_over(devices)

    def before_train(self, stage: StageView) -> None:
        if self._note:
            stage.trainer.say(f"hooks.data_parallel: {self._note}")
            self._note = ""


def _divided_over(devices: Sequence[int]) -> Callable[[nn.Module], nn.Module]:
    return lambda network: nn.DataParallel(network, device_ids=devices)
