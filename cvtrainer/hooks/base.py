"""The base class of all hooks: sixteen points, each doing nothing until it is overridden.

A hook is called with `stage`, an object that is also a mapping and always holds `context`,
`trainer`, `model`, `epoch`, `step` and `phase` (and `update`, the name of the update under way).
An epoch runs through the points in this order:

    before_train
      before_epoch
        before_step                             the batch as the loader made it
          before_forward  after_forward         once per update; the batch, the loss may be replaced
          before_backward after_backward
          before_optimize after_optimize        gradients may be changed; parameters have changed
        after_step
      after_epoch
      before_eval                               with `phase` "val": before_step, before_forward,
      after_eval                                after_forward, after_step fire for each batch
      before_save after_save                    around each checkpoint
    after_train
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cvtrainer.engine.points import POINTS, Rank, silent

if TYPE_CHECKING:
    from cvtrainer.engine.plan import Plan
    from cvtrainer.engine.view import StageView

__all__ = ["POINTS", "BaseHook", "Rank"]


class BaseHook:
    """Override what you need; a point that is not overridden costs nothing."""

    rank: ClassVar[Rank] = Rank.DECIDE
    name: str | None = None

    def configure(self, plan: Plan) -> None:
        """Change how a step is made; called once, before networks are prepared."""

    def state_dict(self) -> dict[str, Any]:
        """Whatever this hook must remember after a resume: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""

    @silent
    def before_train(self, stage: StageView) -> None: ...

    @silent
    def after_train(self, stage: StageView) -> None: ...

    @silent
    def before_epoch(self, stage: StageView) -> None: ...

    @silent
    def after_epoch(self, stage: StageView) -> None: ...

    @silent
    def before_step(self, stage: StageView) -> None: ...

    @silent
    def after_step(self, stage: StageView) -> None: ...

    @silent
    def before_forward(self, stage: StageView) -> None: ...

    @silent
    def after_forward(self, stage: StageView) -> None: ...

    @silent
    def before_backward(self, stage: StageView) -> None: ...

    @silent
    def after_backward(self, stage: StageView) -> None: ...

    @silent
    def before_optimize(self, stage: StageView) -> None: ...

    @silent
    def after_optimize(self, stage: StageView) -> None: ...

    @silent
    def before_eval(self, stage: StageView) -> None: ...

    @silent
    def after_eval(self, stage: StageView) -> None: ...

    @silent
    def before_save(self, stage: StageView) -> None: ...

    @silent
    def after_save(self, stage: StageView) -> None: ...
