"""Two hooks that look at a step before and after all others, while it is replayed.

What the first one finds was made by the networks, the loss or the optimizer; what only the last one
finds was made by a hook in between. They end the stage with what they found, or when the step in
question is over. Not for configs: `cvtrainer replay` adds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.engine.capsule import Capsule
from cvtrainer.engine.finding import Finding, Place, bad_kind
from cvtrainer.engine.inspection import Inspector, parameters_of
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class Found(Exception):  # noqa: N818 (says what happened)
    """The place where it began."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.where)
        self.finding = finding


class Reached(Exception):  # noqa: N818 (says what happened)
    """The step is over; `finding` is what was odd in it, though it came to nothing."""

    def __init__(self, finding: Finding | None) -> None:
        super().__init__("the step is over")
        self.finding = finding


class InspectFirst(BaseHook):
    """Stands before all other hooks."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector

    def before_train(self, stage: StageView) -> None:
        bad = _first_bad(_weights(stage))
        if bad is not None:
            remark = "it was so when the stage began; take an earlier checkpoint"
            raise Found(self.inspector.found("weight", bad[0], bad[1], [], remark))

    def after_forward(self, stage: StageView) -> None:
        if stage.phase == "train" and bad_kind(stage["loss"]) is not None:
            raise Found(_of_loss(self.inspector, stage))

    def after_optimize(self, stage: StageView) -> None:
        bad = _first_bad(_weights(stage, stage.update))
        if bad is not None:
            raise Found(_of_weight(self.inspector, stage, *bad))

    def before_eval(self, stage: StageView) -> None:
        self.inspector.active = False
        self.inspector.forget()


class InspectLast(BaseHook):
    """Stands after all other hooks."""

    rank: ClassVar[Rank] = Rank.SAVE

    def __init__(self, inspector: Inspector, capsule: Capsule) -> None:
        self.inspector = inspector
        self.capsule = capsule
        self._about_gradients = "gradient" in capsule.what
        self._is_error = ":" in capsule.what

    def before_forward(self, stage: StageView) -> None:
        if stage.phase == "train":
            batch = stage["batch"]
            self.inspector.begin(_place(stage, batch), batch)

    def before_backward(self, stage: StageView) -> None:
        if bad_kind(stage["loss"]) is not None:
            remark = _hooks_at(stage, "after_forward", "before_backward")
            raise Found(self.inspector.found("loss", "the step", stage["loss"], [], remark))

    def before_optimize(self, stage: StageView) -> None:
        assert stage.update is not None
        found, self.inspector.backward = self.inspector.backward, None
        gradients = {
            name: one.grad
            for name, one in _weights(stage, stage.update).items()
            if one.grad is not None
        }
        bad = _first_bad(gradients)
        asked = self._about_gradients and stage.step + 1 == self.capsule.step
        skipped = stage.trainer.plan.scaler is not None and not asked
        if (bad is None and not (found and asked)) or skipped:
            return
        if found is None:
            assert bad is not None
            remark = _hooks_at(stage, "after_backward", "before_optimize")
            found = self.inspector.found("gradient", bad[0], bad[1], [], remark)
        raise Found(self._with_doubts(found))

    def after_optimize(self, stage: StageView) -> None:
        self._look_at_weights(stage, "after_optimize")

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train":
            return
        self._look_at_weights(stage, "after_step")
        over = stage.step > self.capsule.step - (not self._is_error)
        if stage.stepped and over:
            inspector = self.inspector
            raise Reached(inspector.forward or inspector.doubtful)

    def _look_at_weights(self, stage: StageView, point: str) -> None:
        if not _others_at(stage, point):
            return
        bad = _first_bad(_weights(stage))
        if bad is not None:
            raise Found(self.inspector.found("weight", *bad, [], _hooks_at(stage, point)))

    def _with_doubts(self, finding: Finding) -> Finding:
        doubt = self.inspector.forward or self.inspector.doubtful
        if doubt is None:
            return finding
        return replace(finding, earlier=(f"{doubt.value} in {doubt.where}",))


def _place(stage: StageView, batch: Mapping[str, Any]) -> Place:
    meta = batch.get("meta") or {}
    index = list(meta.get("index") or ())
    files = [str(one) for one in meta.get("path") or [""] * len(index)]
    return Place(
        stage.step + 1,
        stage.epoch,
        stage.clock.batch + 1,
        stage.update,
        list(zip(map(int, index), files, strict=False)),
    )


def _weights(stage: StageView, update: str | None = None) -> dict[str, nn.Parameter]:
    """Parameters by full name: of all networks, or of those that an update changes."""
    trainer = stage.trainer
    chosen = set(trainer.networks)
    for one in trainer.task.updates():
        if one.name == update:
            chosen = set(one.networks)
    return dict(parameters_of(trainer.networks, chosen))


def _first_bad(tensors: Mapping[str, Tensor]) -> tuple[str, Tensor] | None:
    """The first that holds something else than numbers; one look at the device."""
    if not tensors:
        return None
    flags = [torch.isfinite(one.detach()).all() for one in tensors.values()]
    good = torch.stack(flags).tolist()
    if all(good):
        return None
    return list(tensors.items())[good.index(False)]


def _of_loss(inspector: Inspector, stage: StageView) -> Finding:
    """The loss is no number: what came first in this forward pass."""
    first = inspector.forward or inspector.doubtful
    if first is None:
        parts = [(f"loss {name}", one) for name, one in stage["losses"].items()]
        return inspector.found("loss", "the step", stage["loss"], parts)
    doubt = inspector.doubtful
    if doubt is None or doubt is first:
        return first
    if doubt.what == "output" and any(one.infinite for one in first.ranges if one.name != "output"):
        return replace(
            doubt, remarks=(*doubt.remarks, f"it becomes {first.value} in {first.where}")
        )
    return replace(first, earlier=(f"{doubt.value} in {doubt.where}; a mask may hold it",))


def _of_weight(inspector: Inspector, stage: StageView, name: str, weight: Tensor) -> Finding:
    """The optimizer did it: its gradient was fine."""
    optimizer = stage.trainer.optimizers[stage.update]
    group = next(
        group for group in optimizer.param_groups if any(one is weight for one in group["params"])
    )
    beside = [] if weight.grad is None else [("its gradient", weight.grad)]
    state = optimizer.state.get(weight, {})
    beside += [(f"its {key}", one) for key, one in state.items() if isinstance(one, Tensor)]
    kind = type(optimizer).__name__
    remark = f"its gradient was fine: the step of {kind} at lr {float(group['lr']):.6g} makes it"
    return inspector.found("weight", name, weight, beside, remark, kind=kind)


def _others_at(stage: StageView, *points: str) -> list[str]:
    """Names of the hooks that listen there between the first and the last look."""
    table = stage.trainer.table
    return [
        name
        for name, hook in stage.trainer.hooks.items()
        if not isinstance(hook, (InspectFirst, InspectLast))
        and any(getattr(hook, point, None) in table.listeners(point) for point in points)
    ]


def _hooks_at(stage: StageView, *points: str) -> str:
    """Who may have done it."""
    names = ", ".join(_others_at(stage, *points))
    return f"a hook put it there, at {' or '.join(points)}: {names or 'none is known'}"
