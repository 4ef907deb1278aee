"""Computes forward and loss in half precision, in training and in evaluation.

bfloat16 needs no scaling; float16 has a narrow range, so losses are scaled up before the backward
pass and gradients down before the optimizer moves, and a step whose gradients overflowed is left
out. Each update has a scaler of its own, which is saved and resumed. Weights stay in float32.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch.amp.grad_scaler import GradScaler

from cvtrainer.core.errors import UserError
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank

_KINDS = {
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


class AMPHook(BaseHook):
    """`dtype: auto` is bfloat16, except on GPUs that only emulate it: float16 there."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        dtype: str = "auto",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        if dtype not in ("auto", *_KINDS):
            raise UserError(
                f"hooks.amp: dtype is {dtype!r}; it must be auto, bfloat16 (bf16) or float16 (fp16)"
            )
        if init_scale <= 0 or growth_factor <= 1 or not 0 < backoff_factor < 1:
            raise UserError(
                f"hooks.amp: init_scale is {init_scale}, growth_factor {growth_factor}, "
                f"backoff_factor {backoff_factor}; use more than 0, more than 1, and 0 to 1"
            )
        self.dtype = dtype
        self.init_scale = init_scale
        self.growth_factor = growth_factor
        self.backoff_factor = backoff_factor
        self.growth_interval = growth_interval
        self._device = torch.device("cpu")
        self._scalers: dict[str, GradScaler] = {}
        self._loaded: dict[str, Any] = {}

    def configure(self, plan: Plan) -> None:
        self._device = plan.device
        kind = self._kind(plan.device)
        plan.autocast = partial(torch.autocast, plan.device.type, kind)
        if kind is torch.float16:
            plan.scaler = self._scaler_of

    def before_train(self, stage: StageView) -> None:
        stage.trainer.say(f"amp: {str(self._kind(self._device)).removeprefix('torch.')}")

    def state_dict(self) -> dict[str, Any]:
        return {name: scaler.state_dict() for name, scaler in self._scalers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._loaded = dict(state)
        for name, scaler in self._scalers.items():
            if name in state:
                scaler.load_state_dict(self._loaded.pop(name))

    def _kind(self, device: torch.device) -> torch.dtype:
        if self.dtype != "auto":
            return _KINDS[self.dtype]
        emulated = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
        return torch.float16 if emulated else torch.bfloat16

    def _scaler_of(self, update: str) -> GradScaler:
        if update not in self._scalers:
            scaler = self._scalers[update] = GradScaler(
                self._device.type,
                init_scale=self.init_scale,
                growth_factor=self.growth_factor,
                backoff_factor=self.backoff_factor,
                growth_interval=self.growth_interval,
            )
            if update in self._loaded:
                scaler.load_state_dict(self._loaded.pop(update))
        return self._scalers[update]
