"""Builds the function that makes one training step, once, from task, optimizers and hook table.

For each update that is due: zero gradients, forward, loss, backward, optimizer step, with the six
inner points around them. A batch of a rank without samples carries weight 0 and one of an uneven
tail its share, so that averaged gradients equal those of a single process. Where several batches
make one step, gradients are zeroed before the first of them and the optimizer moves after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.engine.explaining import explaining
from cvtrainer.engine.grouping import Grouping
from cvtrainer.engine.partial_gradients import PartialGradients
from cvtrainer.engine.plan import Around, Plan
from cvtrainer.engine.points import UPDATE_POINTS, HookTable, Listener
from cvtrainer.engine.view import StageView
from cvtrainer.protocols import Batch, Task, Update, UpdateResult

StepFunction = Callable[[Batch], UpdateResult]
Compute = Callable[[Batch], UpdateResult]


def build_step(
    task: Task,
    optimizers: Mapping[str, Optimizer],
    table: HookTable,
    view: StageView,
    *,
    plan: Plan | None = None,
    grouping: Grouping | None = None,
    gradients: PartialGradients | None = None,
    networks: Iterable[nn.Module] = (),
    weighted: bool = True,
) -> StepFunction:
    """One update gives its own function; several are run in order, each at its own frequency.

    `networks` are those that training computes with; `weighted` says that batches may carry their
    share of a global batch.
    """
    updates = task.updates()
    _refuse_gaps(updates, optimizers)
    plan, grouping = plan or Plan(), grouping or Grouping()
    functions = []
    for update in updates:
        compute = explaining(
            in_precision(update.compute, plan.autocast),
            task.networks,
            learns=True,
            guarded=plan.guarded,
            compiled=plan.compile is not None,
        )
        optimizer = optimizers[update.name]
        functions.append(
            _one_update(update.name, compute, optimizer, table, view, plan, grouping, weighted)
        )
    if len(updates) == 1:
        step = functions[0]
    else:
        if grouping.every > 1:
            gradients = gradients or PartialGradients(optimizers)
            functions = [
                _apart(update.name, run, gradients, grouping)
                for update, run in zip(updates, functions, strict=True)
            ]
        step = _several_updates(updates, functions, view)
    if grouping.every > 1 and plan.hold_exchange is not None:
        return _exchanging_once(step, plan, grouping, tuple(networks))
    return step


def _refuse_gaps(updates: Sequence[Update], optimizers: Mapping[str, Optimizer]) -> None:
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


def _one_update(
    name: str,
    compute: Compute,
    optimizer: Optimizer,
    table: HookTable,
    view: StageView,
    plan: Plan,
    grouping: Grouping,
    weighted: bool,
) -> StepFunction:
    context = view.context
    backward, move = _passes(optimizer, table, view, plan.scaler, name)
    before_forward, after_forward = table.before_forward, table.after_forward
    before_backward, after_backward = table.before_backward, table.after_backward
    observed = any(table.listeners(point) for point in (*UPDATE_POINTS, "after_step"))

    def step(batch: Batch) -> UpdateResult:
        view.update = name
        if before_forward:
            batch = _pass_through(before_forward, view, "batch", batch)
        if grouping.first:
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
        weight = _gradient_weight(batch) * grouping.share if weighted else grouping.share
        backward(loss if weight == 1.0 else loss * weight)
        if observed:
            loss = loss.detach()
            context.set("loss", loss)
            if after_backward:
                fire(after_backward, view)
        if grouping.last:
            if grouping.uneven:
                grouping.correct(optimizer)
            move()
        return result if loss is result.loss else UpdateResult(loss, *result[1:])

    return step


def _passes(
    optimizer: Optimizer,
    table: HookTable,
    view: StageView,
    scaler_for: Callable[[str], GradScaler] | None,
    name: str,
) -> tuple[Callable[[Tensor], None], Callable[[], None]]:
    """The backward pass, and the optimizer's move with its points; both know about a scaler."""
    before, after = table.before_optimize, table.after_optimize
    scaler = None if scaler_for is None else scaler_for(name)
    if scaler is None:

        def move() -> None:
            for listen in before:
                listen(view)
            optimizer.step()
            for listen in after:
                listen(view)

        return torch.autograd.backward, move

    def backward_scaled(loss: Tensor) -> None:
        torch.autograd.backward(scaler.scale(loss))

    def move_scaled() -> None:
        if before:
            scaler.unscale_(optimizer)
            fire(before, view)
        scaler.step(optimizer)
        scaler.update()
        fire(after, view)

    return backward_scaled, move_scaled


def in_precision(compute: Compute, autocast: Around | None) -> Compute:
    """The same computation in the precision that the plan asks for."""
    if autocast is None:
        return compute

    def compute_in_precision(batch: Batch) -> UpdateResult:
        with autocast():
            return compute(batch)

    return compute_in_precision


def _apart(
    name: str, run: StepFunction, gradients: PartialGradients, grouping: Grouping
) -> StepFunction:
    def step(batch: Batch) -> UpdateResult:
        gradients.take_up(name)
        result = run(batch)
        if not grouping.last:
            gradients.lay_down(name)
        return result

    return step


def _exchanging_once(
    run: StepFunction, plan: Plan, grouping: Grouping, networks: Sequence[nn.Module]
) -> StepFunction:
    """Ranks exchange gradients with the last batch of a group only."""
    hold = plan.hold_exchange
    assert hold is not None

    def step(batch: Batch) -> UpdateResult:
        if grouping.last:
            return run(batch)
        with ExitStack() as held:
            for network in networks:
                held.enter_context(hold(network))
            return run(batch)

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
