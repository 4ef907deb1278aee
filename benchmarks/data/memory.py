"""Whether epochs grow the memory: 20 epochs over 5,000 generated files, threads and processes.

    python -m benchmarks.data.memory [--images 5000] [--epochs 20]

The resident size of this process and of each worker after the second epoch and after the last;
growth of more than 2 % ends with exit code 1.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from multiprocessing import active_children
from pathlib import Path

from benchmarks.data.crews import ours
from benchmarks.data.pictures import picture_folder

LIMIT = 1.02


def main() -> None:
    """Measure and judge."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=5000)
    words.add_argument("--epochs", type=int, default=20)
    given = words.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as room:
        folder = picture_folder(Path(room), given.images, width=160, height=120)
        for workers in ("threads", "processes"):
            worst = max(worst, grown(folder, workers, given.epochs))
    sys.exit(worst > LIMIT)


def grown(folder: Path, workers: str, epochs: int) -> float:
    """The largest growth among the processes, printed with the sizes."""
    stream = ours(folder, uint8=True, num_workers=2, workers=workers)
    sizes: dict[int, list[int]] = {}
    for epoch in range(1, epochs + 1):
        for batch in stream.epoch(epoch):
            del batch
        gc.collect()
        for process in (os.getpid(), *(child.pid for child in active_children())):
            if process is not None:
                sizes.setdefault(process, []).append(resident(process))
    stream.close()
    worst = 0.0
    for process, seen in sizes.items():
        settled, last = seen[1], seen[-1]
        worst = max(worst, last / settled)
        who = "this process" if process == os.getpid() else f"worker {process}"
        print(
            f"{workers}: {who}: {settled / 2**20:.1f} MiB after epoch 2, "
            f"{last / 2**20:.1f} MiB after epoch {epochs} ({last / settled - 1:+.2%})",
            flush=True,
        )
    return worst


def resident(process: int) -> int:
    """Bytes of memory that the process has of its own or shares."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
