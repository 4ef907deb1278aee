"""Starts the ranks of one machine through torch's elastic launcher.

Each rank runs the command line again with the same words; the launcher ends all of them when one
fails. The failing rank has told the cause by then, so the launcher's own report is not shown.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cvtrainer.ddp.world import too_few_gpus


def launch_ranks(words: Sequence[str], processes: int, *, device: str = "auto") -> int:
    """Run `cvtrainer WORDS` in so many ranks; returns the exit code of the first that failed."""
    if device != "cpu" and 0 < torch.cuda.device_count() < processes:
        raise too_few_gpus(processes)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    with _launcher_is_quiet():
        try:
            elastic_launch(config, sys.executable)("-m", "cvtrainer.cli", *words)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            return failure.exitcode or 1
        except SignalException as error:
            if error.sigval in (signal.SIGINT, signal.SIGTERM):
                raise KeyboardInterrupt from error
            raise
    return 0


@contextmanager
def _launcher_is_quiet() -> Iterator[None]:
    logger = logging.getLogger("torch.distributed.elastic")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
