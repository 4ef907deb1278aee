"""Compiles networks with torch.compile before training.

It is done in place, so weights keep their names and everybody sees the same network. The first
steps are slow; a batch of another size makes it compile once more, for any size.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class CompileHook(BaseHook):
    """The arguments are torch.compile's."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        backend: str = "inductor",
        mode: Literal[
            "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"
        ] = "default",
        fullgraph: bool = False,
        dynamic: bool | None = None,
    ) -> None:
        if mode not in MODES:
            raise UserError(
                f"hooks.compile: mode is {mode!r}; it must be one of {', '.join(MODES)}"
            )
        known = _backends()
        if backend not in known:
            raise UserError(
                f"hooks.compile: backend is {backend!r}; here there is {', '.join(known)}"
            )
        self.backend = backend
        self.mode = mode
        self.fullgraph = fullgraph
        self.dynamic = dynamic

    def configure(self, plan: Plan) -> None:
        plan.compile = self._compile

    def before_train(self, stage: StageView) -> None:
        stage.trainer.say(f"compile: {self.backend}; the first steps take longer")

    def _compile(self, network: nn.Module) -> None:
        mode = None if self.mode == "default" else self.mode
        network.compile(
            backend=self.backend, mode=mode, fullgraph=self.fullgraph, dynamic=self.dynamic
        )


def _backends() -> list[str]:
    from torch._dynamo import list_backends

    return [*list_backends(None)]
