"""Wraps a network so that its gradients are averaged over all processes during backward.

The average is over ranks; that a rank with fewer samples counts less is the business of the weight
its batch carries. Networks in their original form stay visible to everybody but the task. Nothing
is exchanged inside `without_exchange`; what was gathered there goes along with the next exchange.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

Compression = Literal["bfloat16", "float16"]


@dataclass(frozen=True)
class Averaging:
    """The choices that torch's DistributedDataParallel leaves; its own defaults."""

    find_unused_parameters: bool = False
    static_graph: bool = False
    bucket_mb: float | None = None
    broadcast_buffers: bool = True
    compression: Compression | None = None
    group: distributed.ProcessGroup | None = None
    """Carries the gradients; None means the group of all processes."""


def gradient_averaging(options: Averaging | None = None) -> Callable[[nn.Module], nn.Module]:
    """A function that wraps a network."""
    options = options or Averaging()

    def wrap(network: nn.Module) -> nn.Module:
        # A static graph is exchanged after every batch, so gradients kept aside must not be views.
        wrapped = DistributedDataParallel(
            network,
            process_group=options.group,
            find_unused_parameters=options.find_unused_parameters,
            static_graph=options.static_graph,
            bucket_cap_mb=options.bucket_mb,
            gradient_as_bucket_view=not options.static_graph,
            **({} if options.broadcast_buffers else _own_buffers()),
        )
        if options.compression is not None:
            wrapped.register_comm_hook(options.group, _compressing(options.compression))
        return wrapped

    return wrap


def without_exchange(network: nn.Module) -> AbstractContextManager[object]:
    """Inside, forward and backward passes keep their gradients to this process."""
    no_sync: Callable[[], AbstractContextManager[object]] | None
    no_sync = getattr(network, "no_sync", None)
    return nullcontext() if no_sync is None else no_sync()


def _own_buffers() -> dict[str, Any]:
    """Buffers start alike and then stay each process's own; torch 2.13 renamed the word."""
    known = inspect.signature(DistributedDataParallel).parameters
    word = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return {word: False}


def _compressing(dtype: Compression) -> Callable[..., Any]:
    """Gradients travel in half precision and are added up in it."""
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    if dtype == "bfloat16":
        return default_hooks.bf16_compress_hook
    return default_hooks.fp16_compress_hook
