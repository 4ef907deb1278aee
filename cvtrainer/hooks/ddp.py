"""Training in several processes: wraps each network, and whatever must be synchronous with it.

The job joins the process group before anything is built and leaves it at the end; streams give
each rank its part of every global batch; the trainer merges meters exactly. What is left for this
hook is how the step is made: the wrapper, and BatchNorm over all ranks where it is wanted.
"""

from __future__ import annotations

from functools import partial

import torch.distributed as dist

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.wrap import wrap_ddp
from cvtrainer.engine.plan import Plan
from cvtrainer.hooks.base import BaseHook


class DDPHook(BaseHook):
    """Does nothing in a run of one process."""

    def __init__(self, find_unused_parameters: bool = False, sync_batchnorm: bool = False) -> None:
        self.find_unused_parameters = find_unused_parameters
        self.sync_batchnorm = sync_batchnorm

    def configure(self, plan: Plan) -> None:
        if not dist.is_initialized():
            return
        if self.sync_batchnorm and plan.device.type != "cuda":
            raise UserError(
                "sync_batchnorm needs GPUs",
                where="ddp",
                todo="Set sync_batchnorm: false on the CPU.",
            )
        plan.sync_batchnorm = self.sync_batchnorm
        plan.wrap = partial(
            wrap_ddp, device=plan.device, find_unused_parameters=self.find_unused_parameters
        )
