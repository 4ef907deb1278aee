"""The few contracts that the vision half and the engine half share.

A batch is a plain dict of named fields; a task yields named updates; a meter takes whole blocks;
a writer takes log records; a stream serves the batches of an epoch from any position. Nothing
here holds behaviour: what a concrete part does lives in its own room, and torch is named only in
annotations, so that reading a config never imports it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cvtrainer.core.run_folder import RunFolder

Batch = dict[str, Any]
"""Named fields; `target` may nest further fields; `meta` holds `index`, `path` and `weight`."""

Outputs = dict[str, Any]
"""Named results of the networks; a model that returns one tensor gives `output`."""

State = dict[str, Any]
"""Tensors and plain values only, so that it loads with `weights_only=True`."""


class UpdateResult(NamedTuple):
    """What one update computed: the scalar to differentiate, its named parts, and the outputs."""

    loss: Tensor
    losses: Mapping[str, Tensor]
    outputs: Outputs


@runtime_checkable
class Stateful(Protocol):
    """Anything that moves during a run and must be where it was after a resume."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State, /) -> None: ...


class Update(Protocol):
    """One named way of changing some networks: forward, loss, backward, optimizer step."""

    @property
    def name(self) -> str: ...

    @property
    def networks(self) -> Collection[str]:
        """Names of the networks that its optimizer changes."""
        ...

    @property
    def every(self) -> int:
        """It is due every so many steps."""
        ...

    def compute(self, batch: Batch) -> UpdateResult: ...


class Task(Protocol):
    """What one batch means: its networks, the updates that train them, and how to evaluate."""

    @property
    def networks(self) -> Mapping[str, nn.Module]: ...

    def updates(self) -> Sequence[Update]: ...

    def evaluate(self, batch: Batch) -> UpdateResult: ...

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        """Use these (wrapped, compiled) networks for computing from now on."""
        ...


class Reading(Protocol):
    """What the outputs of a supervised model mean.

    One whose decoded outputs stand in the picture says so in a class attribute `IN_PICTURE`, from
    their names to `boxes` [N, K, 4], `points` [N, K, 2 or 3], `map` [N, H, W] or `masks`
    [N, K, H, W]: a prediction carries them back to the pixels of the file before it describes them.
    A method `shown(outputs)`, where there is one, leaves out before what is not told anyway.
    One whose outputs are pictures [N, C, H, W] on a scale of 0 to 1 names them in `PICTURES`.
    """

    def decode(self, outputs: Outputs) -> Outputs:
        """Further outputs, batched tensors too: classes, boxes, masks. Part of exported graphs."""
        ...

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Plain values about the sample at that place of decoded outputs."""
        ...


class Meter(Protocol):
    """Accumulates a number over an epoch from blocks of up to 16 steps, on the device.

    `PRODUCES` is a literal that the config checker reads without importing anything; a `{word}`
    in it expands over that constructor argument. A meter of outputs that only evaluation reads
    says so in a class attribute `PHASES`.
    """

    PRODUCES: ClassVar[tuple[str, ...]]

    def compute(self) -> dict[str, float]: ...

    def reset(self) -> None: ...

    def merge(self, states: Sequence[State]) -> None:
        """Become the exact combination of these states (one per rank)."""
        ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State, /) -> None: ...


@dataclass(frozen=True)
class LogRecord:
    """Numbers that are due: keyed `<phase>/<name>` (`train/loss`, `val/accuracy`, `lr`)."""

    phase: str
    stage: str
    epoch: int
    step: int
    values: Mapping[str, float] = field(default_factory=dict)


class Writer(Protocol):
    """A place where log records go."""

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        """Start writing; after a resume, drop what lies beyond that step of that stage."""
        ...

    def write(self, record: LogRecord) -> None: ...

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...


class Stream(Protocol):
    """Serves the batches of an epoch; the order is a pure function of (seed, epoch)."""

    @property
    def batch_size(self) -> int:
        """Samples per batch of one process."""
        ...

    def __len__(self) -> int:
        """Batches that this process sees per epoch."""
        ...

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks."""
        ...

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of that epoch (1-based) from batch number `start` on."""
        ...

    def finish(self, batch: Batch) -> Batch:
        """The batch, already on its device, as the networks get it."""
        ...

    def shard(self, rank: int, world_size: int) -> None:
        """Serve only this rank's part of each global batch."""
        ...

    def close(self) -> None: ...
