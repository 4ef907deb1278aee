"""Epochs do not grow the resident memory, neither of this process nor of its workers."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest

from tests.data.stream.makers import Tiles, stream_of


def resident(process: int) -> int:
    """Bytes of memory that the process has of its own or shares."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_twenty_epochs_stay_flat(workers: str) -> None:
    stream = stream_of(
        Tiles(256, side=64),
        batch_size=16,
        num_workers=2,
        workers=workers,
        multiprocessing_context="fork",
        prefetch_queue_size=4,
    )
    processes = {os.getpid()}

    def epochs(first: int, last: int) -> dict[int, int]:
        for epoch in range(first, last):
            for batch in stream.epoch(epoch):
                meta: dict[str, Any] = batch["meta"]
                processes.update(meta["process"])
        gc.collect()
        return {process: resident(process) for process in processes}

    before = epochs(1, 8)
    after = epochs(8, 28)
    assert len(processes) == (1 if workers == "threads" else 3)
    for process, size in before.items():
        assert after[process] <= 1.02 * size
    stream.close()
