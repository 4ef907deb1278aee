"""Builds the function that makes one training step, once, from task, optimizers and hook table.

For each update that is due: zero gradients, forward, loss, backward, optimizer step, with the six
inner points around them. A batch of a rank without samples carries weight 0 and one of an uneven
tail its share, so that averaged gradients equal those of a single process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.engine.points import UPDATE_POINTS, HookTable, Listener
from cvtrainer.engine.view import StageView
from cvtrainer.protocols import Batch, Task, Update, UpdateResult

StepFunction = Callable[[Batch], UpdateResult]


def build_step(
    task: Task,
    optimizers: Mapping[str, Optimizer],
    table: HookTable,
    view: StageView,
    *,
    weighted: bool = True,
) -> StepFunction:
    """One update gives its own function; several are run in order, each at its own frequency.

    `weighted` says that batches may carry their share of a global batch.
    """
    updates = task.updates()
    for update in updates:
        if update.name not in optimizers:
            raise UserError(
                f"optimizer: the update {update.name!r} has none; there is one for "
                f"{', '.join(optimizers) or 'nothing'}"
            )
    if all(update.every > 1 for update in updates):
        raise UserError(
            f"task: no update is due at every step ({', '.join(one.name for one in updates)}); "
            "one of them needs every = 1"
        )
    if len(updates) == 1:
        return _one_update(updates[0], optimizers[updates[0].name], table, view, weighted)
    functions = [
        _one_update(update, optimizers[update.name], table, view, weighted) for update in updates
    ]
    return _several_updates(updates, functions, view)


def _one_update(
    update: Update, optimizer: Optimizer, table: HookTable, view: StageView, weighted: bool
) -> StepFunction:
    compute, context, name = update.compute, view.context, update.name
    before_forward, after_forward = table.before_forward, table.after_forward
    before_backward, after_backward = table.before_backward, table.after_backward
    before_optimize, after_optimize = table.before_optimize, table.after_optimize
    observed = any(table.listeners(point) for point in (*UPDATE_POINTS, "after_step"))

    def step(batch: Batch) -> UpdateResult:
        view.update = name
        if before_forward:
            batch = _pass_through(before_forward, view, "batch", batch)
        optimizer.zero_grad()
        result = compute(batch)
        loss = result.loss
        if observed:
            context.update((("loss", loss), ("losses", result.losses), ("outputs", result.outputs)))
            if after_forward:
                fire(after_forward, view)
                loss = context.get("loss")
            if before_backward:
                loss = _pass_through(before_backward, view, "loss", loss)
        weight = _gradient_weight(batch) if weighted else 1.0
        torch.autograd.backward(loss if weight == 1.0 else loss * weight)
        if observed:
            loss = loss.detach()
            context.set("loss", loss)
            if after_backward:
                fire(after_backward, view)
            if before_optimize:
                fire(before_optimize, view)
        optimizer.step()
        if after_optimize:
            fire(after_optimize, view)
        return result if loss is result.loss else UpdateResult(loss, *result[1:])

    return step


def _several_updates(
    updates: Sequence[Update], functions: Sequence[StepFunction], view: StageView
) -> StepFunction:
    schedule = [
        (update.name, update.every, run) for update, run in zip(updates, functions, strict=True)
    ]

    def step(batch: Batch) -> UpdateResult:
        losses: dict[str, Tensor] = {}
        outputs: dict[str, Any] = {}
        for name, every, run in schedule:
            if view.clock.step % every:
                continue
            result = run(batch)
            losses[name] = result.loss.detach()
            losses.update({f"{name}_{part}": value for part, value in result.losses.items()})
            outputs.update(result.outputs)
        made = [losses[name] for name, _, _ in schedule if name in losses]
        total = made[0]
        for further in made[1:]:
            total = total + further
        view.context.update((("loss", total), ("losses", losses), ("outputs", outputs)))
        return UpdateResult(total, losses, outputs)

    return step


def fire(listeners: Sequence[Listener], view: StageView) -> None:
    """Call everybody who listens to a point."""
    for listen in listeners:
        listen(view)


def _pass_through(listeners: Sequence[Listener], view: StageView, key: str, value: Any) -> Any:
    view.context.set(key, value)
    fire(listeners, view)
    return view.context.get(key)


def _gradient_weight(batch: Batch) -> float:
    """This rank's share of an uneven global batch; 1.0 when it is an even one."""
    meta = batch.get("meta")
    return 1.0 if meta is None else float(meta.get("weight", 1.0))
