"""Quantisation-aware training: a stage's network gets its rounding, and a hook that looks after it.

`quantise` of a stage asks for it. The network stays the same module under the same names, so
weights of a float stage fit it, and whatever acts on networks (averages, freezing, several
processes) does so as before. The first ranges come from training batches, before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.core.durations import parse_duration
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.reduce import gather_states
from cvtrainer.deploy.quantize.aware import (
    Rounding,
    insist_on_tool,
    make_aware,
    rounding_of,
    the_input,
)
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.prepare import delivery, to_device
from cvtrainer.engine.randomness import random_state, restore_random_state
from cvtrainer.engine.view import StageView
from cvtrainer.engine.weight_files import saved_weights
from cvtrainer.hooks.averaging import steps_before
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.batch_statistics import computing_with
from cvtrainer.hooks.data_parallel import DataParallelHook
from cvtrainer.protocols import State, Stream, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Stage = Mapping[str, Any]
WORD = "quantise"


def insist_on_tools(stages: Iterable[Stage]) -> None:
    """Before the first stage begins: what any of them rounds with is there."""
    for stage in stages:
        if stage.get(WORD):
            where = f"stages.{stage['name']}.{WORD}"
            insist_on_tool(stage[WORD]["quantizer"], where=where)


def round_for_stream(
    task: Task, stage: Stage, streams: Mapping[str, Stream], device: torch.device
) -> None:
    """Round the network for inputs such as the stage's first batch, if the stage asks for it."""
    if not stage.get(WORD):
        return
    name = _rounded(task)
    network = task.networks[name].to(device)
    stream = streams.get("train") or next(iter(streams.values()))
    drawn = random_state()
    batches: Any = stream.epoch(1)
    try:
        batch = stream.finish(to_device(next(batches), device))
    finally:
        batches.close()
        restore_random_state(drawn)
    _make_aware(network, stage, _input_of(network, task, batch).shape[1:])


def round_as_saved(task: Task, stage: Stage, state: State, *, source: str) -> None:
    """Round the network as that of a saved state was, if the stage asks for it."""
    if not stage.get(WORD):
        return
    name = _rounded(task)
    weights = saved_weights(state).networks.get(name, {})
    shape = next((one for key, one in weights.items() if key.endswith("rounding.input")), None)
    if shape is None:
        raise UserError(
            "these weights are of a network without rounding, and the stage asks for it",
            where=source,
            todo=f"Take a checkpoint of stage {stage['name']}, or a config without {WORD}.",
        )
    _make_aware(task.networks[name], stage, shape.tolist())


def rounding_in(task: Task) -> tuple[str, Rounding] | None:
    """The rounded network of a task by its name, where there is one."""
    for name, network in task.networks.items():
        found = rounding_of(network)
        if found is not None:
            return name, found
    return None


def rounding_hooks(stage: Stage) -> list[BaseHook]:
    """What looks after the rounding; it comes before whoever copies weights."""
    return [RoundingHook(stage[WORD])] if stage.get(WORD) else []


class RoundingHook(BaseHook):
    """Finds the first ranges; later lets them, and the statistics of norms, rest.

    When they rest follows from the step alone, so a resumed run needs no memory of it.
    """

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.name = WORD
        self._method: str = asked["method"]
        self._num_batches: int | None = asked["num_batches"]
        self._ranges_for = parse_duration(asked["freeze_ranges"])
        self._norms_for = parse_duration(asked["freeze_batch_norm"])
        self._ends = (0, 0)
        self._room: Rounding | None = None

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        found = rounding_in(trainer.task)
        assert found is not None, "the composition root rounds the network of such a stage"
        self._room = found[1]
        _refuse_others(trainer.plan, trainer.hooks.values())
        self._ends = steps_before(stage, self._ranges_for), steps_before(stage, self._norms_for)
        if not bool(self._room.known):
            self._find_ranges(stage, self._room)

    def before_forward(self, stage: StageView) -> None:
        if stage.phase == "train" and self._room is not None:
            ranges, norms = self._ends
            self._room.hold(ranges=stage.step >= ranges, norms=stage.step >= norms)

    def _find_ranges(self, stage: StageView, room: Rounding) -> None:
        trainer = stage.trainer
        stream, deliver = trainer.streams["train"], delivery(trainer.plan)
        forward: Any = getattr(trainer.task, "predict", trainer.task.evaluate)
        room.watch()
        seen = 0
        with _looking(trainer.networks), computing_with(trainer, trainer.networks), torch.no_grad():
            for batch in islice(stream.epoch(1), self._num_batches):
                forward(deliver(batch, stream))
                seen += 1
                trainer.borders.mark("train")
        room.settle(self._method)
        _join_ranks(room, stage)
        trainer.say(f"{WORD}: ranges by {self._method} of {seen} batches")


class _FoundError(Exception):
    """The input is there; nothing need be computed. Not an error, but it must get out."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


def _rounded(task: Task) -> str:
    """The network that the stage is about: the only one, or the one called `model`."""
    names = list(task.networks)
    if len(names) == 1:
        return names[0]
    if "model" in names:
        return "model"
    raise UserError(
        f"the task has networks {', '.join(names)}, and none is called model", where=WORD
    )


def _make_aware(network: nn.Module, stage: Stage, shape: Any) -> None:
    block = stage[WORD]
    scheme = Scheme(
        method=block["method"],
        symmetric=block["symmetric"],
        tool=block["quantizer"],
        float_layers=frozenset(block["float"] or ()),
    )
    make_aware(network, [int(length) for length in shape], scheme)


def _input_of(network: nn.Module, task: Task, batch: Any) -> Tensor:
    """What the network is given of such a batch."""

    def catch(_: nn.Module, args: tuple[Any, ...], words: dict[str, Any]) -> None:
        raise _FoundError(the_input(args, words))

    hook = network.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        task.evaluate(batch)
    except _FoundError as caught:
        return caught.x
    finally:
        hook.remove()
    raise UserError("the task does not use its network in evaluation", where=WORD)


def _refuse_others(plan: Plan, hooks: Iterable[Any]) -> None:
    """What would change the numbers that are rounded, or take networks apart."""
    if plan.autocast is not None:
        raise UserError(
            "rounding to 8 bits is trained in 32-bit floats",
            where="hooks.amp",
            todo=f"Leave it out of a stage with {WORD}.",
        )
    copies = plan.wrap is not None and any(isinstance(one, DataParallelHook) for one in hooks)
    if copies or plan.lockstep or plan.compile is not None:
        raise UserError(
            "a rounded network is neither sharded nor copied nor compiled",
            where=WORD,
            todo="Leave out fsdp, dp and compile; ddp works.",
        )


@contextmanager
def _looking(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Everything evaluates, and nothing is drawn that training would draw.

    Norms that have no statistics yet take the batch's: values between layers are what they will be
    in training. They do not remember them.
    """
    modes = [(one, one.training) for network in networks.values() for one in network.modules()]
    new = [one for one, _ in modes if isinstance(one, _BatchNorm) and _is_new(one)]
    before = [(buffer, buffer.clone()) for one in new for buffer in one.buffers()]
    drawn = random_state()
    try:
        for network in networks.values():
            network.eval()
        for norm in new:
            norm.train()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for buffer, value in before:
            buffer.copy_(value)
        restore_random_state(drawn)


def _is_new(norm: _BatchNorm) -> bool:
    """Those that would ask other processes for their statistics are left alone."""
    if isinstance(norm, nn.SyncBatchNorm):
        return False
    return norm.num_batches_tracked is not None and not int(norm.num_batches_tracked)


def _join_ranks(room: Rounding, stage: StageView) -> None:
    """Each rank has seen its part."""
    world = stage.trainer.world
    if world.world_size == 1:
        return
    ranks = gather_states([one.found() for one in room.ranges], world)
    for one, found in zip(room.ranges, zip(*ranks, strict=True), strict=True):
        one.join(torch.stack(found))
