"""The loop: train, evaluate, step, and nothing else.

Every training technique is a hook; how a step is made is decided by the plan before the loop
starts. The loop never waits for the device: losses and meters are read only when somebody asks.
A border is the place between two batches, or after an epoch and its evaluation; saving happens
only there, so that every saved state is one from which the run goes on bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cvtrainer.context import HookContext
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.ddp.pieces import whole
from cvtrainer.ddp.reduce import broadcast_buffers, gather_states
from cvtrainer.engine.binding import batch_size
from cvtrainer.engine.borders import Borders
from cvtrainer.engine.clock import Clock
from cvtrainer.engine.lockstep import in_lockstep
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.points import compile_table
from cvtrainer.engine.position import position, rest_of_epoch, take_up
from cvtrainer.engine.prepare import Networks, prepare_networks
from cvtrainer.engine.randomness import random_state, restore_random_state
from cvtrainer.engine.recorder import Recorder, as_entries
from cvtrainer.engine.saving import Saving
from cvtrainer.engine.stage import (
    Optimizers,
    StageSettings,
    as_streams,
    by_name,
    global_batch_size,
    one_per_update,
)
from cvtrainer.engine.state import load_meters, load_parts
from cvtrainer.engine.step import fire
from cvtrainer.engine.stepping import Stepping
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.engine.view import StageView
from cvtrainer.protocols import Batch, State, Stateful, Stream, Task


class Trainer:
    """One stage: its networks, data, hooks and meters, and the position in the run."""

    def __init__(
        self,
        model: nn.Module | Task,
        criterion: nn.Module | None = None,
        optimizer: Optimizers | None = None,
        dataloaders: Mapping[str, Any] | None = None,
        *,
        hooks: Iterable[Any] = (),
        meters: Iterable[Any] = (),
        settings: StageSettings | None = None,
        run: RunFolder | None = None,
    ) -> None:
        self.settings = settings or StageSettings()
        self.world = self.settings.world
        self.run = run
        self.writers = tuple(self.settings.writers)
        self.hooks = by_name(hooks)
        self.task: Task = (
            SupervisedTask(model, criterion) if isinstance(model, nn.Module) else model
        )
        self.streams = as_streams(dataloaders, self.world)
        entries = as_entries(meters)
        phases = dict.fromkeys((*self.streams, "train", "val"))
        self.meters = {phase: Recorder(entries, phase) for phase in phases}
        self.clock = Clock()
        self.context = HookContext()
        self.view = StageView(self.settings.name, self.context, self, self.clock)
        self.plan = Plan(self.settings.device, global_batch_size(self.streams, self.world))
        for hook in self.hooks.values():
            hook.configure(self.plan)
        self._networks: Networks = prepare_networks(self.task, self.plan)
        self.optimizers = one_per_update(optimizer, self.networks, self.task)
        self._stepping = Stepping(self.task, self._networks, self.optimizers, self.plan, self.world)
        self.table = compile_table(self.hooks.values())
        self._alone = self.world.world_size == 1
        self._saving = Saving(self.view)
        self.borders = Borders(self.world, self.clock)
        self._random_state: State | None = None

    # -- what hooks ask for

    @property
    def model(self) -> nn.Module:
        """The network as the user made it; the first one where there are several."""
        return next(iter(self.networks.values()))

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return self._networks.bare

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; the first one where there are several."""
        return next(iter(self.optimizers.values()))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch of training."""
        return self._stepping.steps_in(len(self.streams["train"]))

    def stop(self) -> None:
        """End the stage at the next border, in all processes alike."""
        self.borders.wish_to_stop()

    def request_save(self, path: Path, *, wait: bool = False) -> None:
        """Save at the border that comes next; it is written while training goes on, or waited for.

        `after_save` tells at a later border that the file is whole.
        """
        self._saving.request(path, wait=wait)

    def say(self, text: str) -> None:
        """Tell the person who runs this, once for all ranks."""
        if self.world.rank:
            return
        for writer in self.writers:
            writer.message(text)
        if not self.writers:
            print(text, file=sys.stderr)

    # -- the loop

    def train(self, epochs: int) -> dict[str, float]:
        """Run until `epochs` epochs are done (all told, also after a resume)."""
        if "train" not in self.streams:
            raise UserError("dataloader.train: a stage that trains needs it, and there is none")
        self._stepping.build(self.table, self.view)
        self.context.set("epochs", epochs)
        self.context.remove("exception")
        self.borders.open()
        try:
            fire(self.table.before_train, self.view)
            if self._random_state is not None:
                restore_random_state(self._random_state)
                self._random_state = None
            self._saving.background = True
            self._saving.at_border()
            while (
                not self.borders.between_epochs()
                and self.clock.epochs_done < epochs
                and not self._out_of_steps()
            ):
                self._train_epoch()
            self._saving.background = False
            self._saving.flush()
        except BaseException as error:
            self.borders.close()
            self._saving.background = False
            self._saving.flush_despite(error)
            self.context.set("exception", error)
            for failure in self._finish():
                error.add_note(f"after_train failed as well: {failure!r}")
            raise
        self.borders.rest()
        failures = self._finish()
        self.borders.work()
        self._saving.at_border()
        self.borders.close()
        if failures:
            raise failures[0]
        return dict(self.context.get("metrics", {}))

    def _finish(self) -> list[Exception]:
        """Tell everybody that the stage is over; one who fails does not keep it from the others."""
        failures: list[Exception] = []
        for listen in self.table.after_train:
            try:
                listen(self.view)
            except Exception as error:
                failures.append(error)
        return failures

    def _train_epoch(self) -> None:
        stream, meters, clock = self.streams["train"], self.meters["train"], self.clock
        if clock.open_epoch():
            meters.reset()
            fire(self.table.before_epoch, self.view)
        self._enter_training()
        settings, limit = self.settings, self.settings.max_steps
        often = settings.evaluates_often
        for batch in self._rest_of_epoch(stream):
            self.step(batch)
            if often and settings.evaluates_within(clock, len(stream)):
                self.evaluate()
                self._enter_training()
            if self._saving.pending:
                self._saving.at_border()
            if self.borders.between_batches() or clock.step == limit:
                break
        if self.borders.ends and clock.batch < len(stream) and not self._out_of_steps():
            return
        self._publish("train", self._merged(meters))
        fire(self.table.after_epoch, self.view)
        if settings.evaluates_after(clock.epoch):
            self.evaluate()
        clock.close_epoch()
        self._saving.at_border(of_epoch=True)

    def _rest_of_epoch(self, stream: Stream) -> Iterator[Batch]:
        """The batches still to come; whoever stops a run may have ended its workers as well."""
        try:
            yield from rest_of_epoch(stream, self.clock)
        except RunFailed:
            if not (self._alone and self.borders.wished):
                raise
            self.borders.between_batches()  # this one is passed without a batch

    def step(self, batch: Batch) -> None:
        """One batch through all due updates."""
        view, table = self.view, self.table
        if table.before_step:
            self.context.set("batch", batch)
            fire(table.before_step, view)
            batch = self.context.get("batch")
        stream, stepping = self.streams["train"], self._stepping
        batch = stepping.deliver(batch, stream)
        if stepping.grouped:
            stepping.open(batch, *self.clock.place_in_groups(len(stream)))
        make = stepping.make or stepping.build(table, view)
        result = make(batch)
        if table.before_forward:
            batch = self.context.get("batch")
        meters = self.meters["train"]
        if self._alone or _counts(batch):
            meters.record(batch, result)
        self.clock.tick(batch_size(batch), stepped=stepping.group.last)
        self.borders.mark("train")
        if table.after_step:
            self.context.set("meters", meters)
            fire(table.after_step, view)

    def evaluate(self, phase: str = "val") -> dict[str, float]:
        """Measure on a split without changing anything; values are named `<phase>/<meter>`."""
        if phase not in self.streams:
            return {}
        meters, before = self.meters[phase], self.view.phase
        meters.reset()
        self.view.phase = phase
        self.view.update = None
        fire(self.table.before_eval, self.view)
        broadcast_buffers(self.networks.values(), self.world)
        self.task.replace(self._networks.bare)
        try:
            with _evaluating(self.networks.values(), self.plan.settle), torch.no_grad():
                stream, lockstep = self.streams[phase], self.plan.lockstep
                for batch in in_lockstep(stream, self.world) if lockstep else stream.epoch(1):
                    self._evaluate_batch(batch, stream, meters)
        finally:
            self.task.replace(self._networks.used)
        values = self._publish(phase, self._merged(meters))
        fire(self.table.after_eval, self.view)
        self.view.phase = before
        return values

    def _evaluate_batch(self, batch: Batch, stream: Stream, meters: Recorder) -> None:
        view, table, context = self.view, self.table, self.context
        if table.before_step:
            context.set("batch", batch)
            fire(table.before_step, view)
            batch = context.get("batch")
        batch = self._stepping.deliver(batch, stream)
        if table.before_forward:
            context.set("batch", batch)
            fire(table.before_forward, view)
            batch = context.get("batch")
        result = self._stepping.evaluate(batch)
        self.borders.mark(view.phase)
        context.update(
            (("loss", result.loss), ("losses", result.losses), ("outputs", result.outputs))
        )
        fire(table.after_forward, view)
        if not self.plan.lockstep or _counts(batch):
            meters.record(batch, result)
        context.set("meters", meters)
        fire(table.after_step, view)

    # -- borders

    def save(self, path: Path) -> None:
        """Write a checkpoint; outside of training the file is whole when this returns."""
        self._saving.save([path])

    def flush_saves(self) -> None:
        """Wait until everything that was saved is whole; all processes do so together."""
        self._saving.flush()

    @property
    def saved(self) -> list[Path]:
        """The files saved so far, all of them whole; one that is being written is waited for."""
        if self.world.world_size == 1:
            self.flush_saves()
        return self._saving.whole

    def _out_of_steps(self) -> bool:
        limit = self.settings.max_steps
        return limit is not None and self.clock.step >= limit

    def _enter_training(self) -> None:
        self.view.phase = "train"
        for network in self.networks.values():
            network.train()

    def _merged(self, meters: Recorder) -> dict[str, float]:
        if self.world.world_size > 1:
            meters.merge(gather_states(meters.state_dict(), self.world))
        return meters.compute()

    def _publish(self, phase: str, values: Mapping[str, float]) -> dict[str, float]:
        named = {f"{phase}/{name}": value for name, value in values.items()}
        self.context.set(f"{phase}_metrics", named)
        self.context.set("metrics", {**self.context.get("metrics", {}), **named})
        return named

    # -- state

    def state_dict(self, *, in_pieces: bool = False) -> State:
        """Everything that moves, as whole tensors and plain values; or tensors as they lie here."""
        self.borders.mark("save")
        unfinished, shared = self._stepping.state_dict(), self.plan.lockstep
        own = {"random": random_state(), "unfinished": {} if shared else unfinished}
        states = gather_states(own, self.world)
        state = {
            **self.settings.facts,
            "stage": self.settings.name,
            "run_id": self.run.run_id if self.run else None,
            "run_path": str(self.run.path) if self.run else None,
            "clock": self.clock.state_dict(),
            "position": position(self.streams, self.clock, self.world),
            "networks": {name: net.state_dict() for name, net in self.networks.items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
            "task": self.task.state_dict() if isinstance(self.task, Stateful) else {},
            "hooks": {name: hook.state_dict() for name, hook in self.hooks.items()},
            "meters": {
                "train": gather_states(self.meters["train"].state_dict(), self.world),
            },
            "metrics": dict(self.context.get("metrics", {})),
            "random": [one["random"] for one in states],
            "unfinished": [unfinished] if shared else [one["unfinished"] for one in states],
        }
        return whole(state) if shared and not in_pieces else state

    def load_state_dict(self, state: State, *, source: str = "checkpoint") -> None:
        """Continue from such a state; generators are set when the loop starts."""
        load_parts(self.task, self.networks, self.optimizers, state, source=source)
        self.clock.load_state_dict(state["clock"])
        for name, hook in self.hooks.items():
            if name in state["hooks"]:
                hook.load_state_dict(state["hooks"][name])
        every, saved = self._stepping.group.every, state.get("position")
        take_up(self.streams, self.clock, saved, self.world, every=every, say=self.say)
        counted = state["meters"]["train"]
        load_meters(self.meters["train"], counted, self.world, self.clock, self.say)
        self._stepping.load_states(state["unfinished"], self.say)
        metrics = state["metrics"]
        self.context.set("metrics", dict(metrics))
        for phase in dict.fromkeys(name.partition("/")[0] for name in metrics):
            own = {name: metrics[name] for name in metrics if name.startswith(f"{phase}/")}
            self.context.set(f"{phase}_metrics", own)
        drawn = state["random"][self.world.rank : self.world.rank + 1]
        self._random_state = drawn[0] if drawn else None


def _counts(batch: Batch) -> bool:
    """False for the filler of a rank that has no sample left in the epoch's last batch."""
    meta = batch.get("meta")
    return meta is None or meta.get("weight") != 0.0


@contextmanager
def _evaluating(
    networks: Iterable[nn.Module], settle: Callable[[nn.Module], None] | None
) -> Iterator[None]:
    """Evaluation mode for a while; each network returns to the mode and state it was in."""
    modes = [(network, network.training) for network in networks]
    for network, _ in modes:
        network.eval()
    try:
        yield
    finally:
        for network, training in modes:
            network.train(training)
            if settle is not None:
                settle(network)
