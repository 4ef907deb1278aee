"""The words of `dataloader_args`; those of torch's DataLoader mean what they mean there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from cvtrainer.core.errors import UserError
from cvtrainer.data.pipeline import CollateSamples

Workers = Literal["auto", "threads", "processes"]


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made and by whom.

    `workers` decides what the `num_workers` are; auto takes threads where every part may run in
    several at once. `prefetch_queue_size` is how many batches may be ready ahead; without it,
    `prefetch_factor` times the workers. `pin_memory` is on by itself where there is a GPU. A
    worker that is at one sample for `stuck_after` seconds ends the run; `timeout` limits the wait
    for one batch. `multiprocessing_context` is fork, forkserver or spawn.
    """

    batch_size: int = 1
    num_workers: int = 0
    shuffle: bool = False
    drop_last: bool = False
    pin_memory: bool | None = None
    prefetch_factor: int | None = None
    collate_fn: CollateSamples | None = None
    persistent_workers: bool = True
    multiprocessing_context: str | None = None
    timeout: float = 0.0
    workers: Workers = "auto"
    prefetch_queue_size: int | None = None
    stuck_after: float = 300.0

    def __post_init__(self) -> None:
        self._check_at_least(1, "batch_size", "prefetch_factor", "prefetch_queue_size")
        self._check_at_least(0, "num_workers", "timeout")
        if self.stuck_after <= 0:
            raise UserError(f"stuck_after is {self.stuck_after}", todo="Give seconds above 0.")
        if self.collate_fn is not None and not callable(self.collate_fn):
            raise UserError(f"collate_fn is {self.collate_fn!r}, which cannot be called")
        if self.workers not in ("auto", "threads", "processes"):
            raise UserError(f"workers is {self.workers!r}", todo="Use auto, threads or processes.")
        if self.multiprocessing_context not in (None, "fork", "forkserver", "spawn"):
            raise UserError(
                f"multiprocessing_context is {self.multiprocessing_context!r}",
                todo="Use fork, forkserver or spawn.",
            )

    def _check_at_least(self, least: int, *words: str) -> None:
        for word in words:
            value = getattr(self, word)
            if value is not None and value < least:
                raise UserError(f"{word} is {value}", todo=f"Use {least} or more.")

    @classmethod
    def from_mapping(cls, words: Mapping[str, Any] | None) -> LoaderOptions:
        """From a config's `dataloader_args`; an unknown word is an error."""
        known = [field.name for field in dataclasses.fields(cls)]
        for word in words or {}:
            if word not in known:
                near = get_close_matches(word, known, n=1)
                todo = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
                raise UserError(f"dataloader_args has no {word}", todo=todo)
        return cls(**(words or {}))

    @property
    def ahead(self) -> int:
        """How many batches may be ready or in the making, besides the one in use."""
        asked = self.prefetch_queue_size
        if asked is None:
            asked = (self.prefetch_factor or 2) * self.num_workers
        return max(asked, self.num_workers)
