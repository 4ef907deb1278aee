"""What an index of ten million samples costs: writing, opening, memory per worker, first order.

    python -m benchmarks.data_index

The rows are generated. A fresh process opens the index and asks for the first batch of a shuffled
epoch. Memory is what workers have for themselves alone (Private_* of smaps_rollup) after they have
read rows all over the index, less what an idle worker has. Budgets: open 2 s, order 1 s, 100 MB.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.near_empty import table
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.index import Index
from cvtrainer.data.sampling import BatchPlan, Shuffled
from cvtrainer.data.splits.subset import Subset

BUDGETS = {"open [s]": 2.0, "first order [s]": 1.0, "worker [MB]": 100.0}
CLASSES = 1000
_BLOCK = 1 << 20


def generate(rows: int) -> Index:
    """An index like that of an image folder: a path, a class and a size per row."""
    blocks = [_block(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]
    return Index(pa.concat_tables(blocks))


def _block(start: int, stop: int) -> pa.Table:
    numbers = np.arange(start, stop, dtype=np.int64)
    classes = numbers * CLASSES // max(stop, 1) % CLASSES
    text = pa.string()
    names = pc.binary_join_element_wise(
        "class_",
        pa.array(classes).cast(text),
        "/photograph_",
        pc.utf8_lpad(pa.array(numbers).cast(text), 9, "0"),
        ".jpg",
        "",
    )
    return pa.table(
        {
            "path": names.cast(pa.large_string()),
            "class_id": classes,
            "width": 400 + numbers % 300,
            "height": 300 + numbers % 200,
        }
    )


def open_dataset(path: Path) -> StoredDataset:
    """The data set over that index."""
    return StoredDataset(
        Index.open(path),
        root="images",
        task="classification",
        classes=[f"class_{k}" for k in range(CLASSES)],
    )


def measure_opening(path: Path) -> dict[str, float]:
    """Seconds until the index is open, and until the first batch of an epoch is known."""
    started = time.perf_counter()
    dataset = open_dataset(path)
    length = len(dataset)
    opened = time.perf_counter()
    sampler = Shuffled()
    sampler.prepare(dataset)
    plan = BatchPlan(sampler, batch_size=256, seed=1)
    request = next(iter(plan.requests(3, start=length // 512)))
    ordered = time.perf_counter()
    for number in request.indices:
        dataset.record(number)
    return {
        "open [s]": opened - started,
        "first order [s]": ordered - opened,
        "256 records [s]": time.perf_counter() - ordered,
    }


def private_mb() -> dict[str, float]:
    """What this process has for itself alone."""
    found = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Private_Clean", "Private_Dirty"):
            found[name] = int(rest.split()[0]) / 1024
    return found


def _work(dataset: Any, number: int, reads: int, barrier: Any, results: Any) -> None:
    """Read rows all over the index, wait for the others, tell the memory."""
    if dataset is not None:
        rng = np.random.default_rng(number)
        for row in rng.integers(0, len(dataset), reads).tolist():
            dataset.record(row)
    barrier.wait(timeout=600)
    results.put(private_mb())
    barrier.wait(timeout=600)


def measure_workers(dataset: Any, method: str, *, workers: int, reads: int) -> float:
    """The most that one of these workers has for itself, in MB."""
    context: Any = multiprocessing.get_context(method)
    barrier, results = context.Barrier(workers), context.Queue()
    processes = [
        context.Process(target=_work, args=(dataset, k, reads, barrier, results))
        for k in range(workers)
    ]
    for process in processes:
        process.start()
    found = [sum(results.get(timeout=600).values()) for _ in processes]
    for process in processes:
        process.join()
    return max(found)


def measure_memory(path: Path, reads: int) -> Iterator[tuple[str, float]]:
    """Unshared memory of a worker above that of an idle one, however workers are started."""
    dataset = open_dataset(path)
    half = Subset(dataset, np.arange(0, len(dataset), 2))
    for method in ("fork", "spawn"):
        idle = measure_workers(None, method, workers=2, reads=0)
        for name, data in (("index", dataset), ("half of it", half)):
            used = measure_workers(data, method, workers=2, reads=reads)
            yield f"{method}, {name}", used - idle


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, tell whether the budgets hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--reads", type=int, default=200_000, help="rows that a worker reads")
    parser.add_argument("--opening-of", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.opening_of:
        print(json.dumps(measure_opening(chosen.opening_of)))
        return 0
    rows: list[tuple[str, float, float | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.arrow"
        started = time.perf_counter()
        index = generate(chosen.rows)
        made = time.perf_counter()
        index.write(path)
        rows.append(("generate [s]", made - started, None))
        rows.append(("write [s]", time.perf_counter() - made, None))
        rows.append(("file [MB]", path.stat().st_size / 2**20, None))
        del index
        command = [sys.executable, "-m", "benchmarks.data_index", "--opening-of", str(path)]
        opening = json.loads(subprocess.check_output(command, text=True))
        rows += [(name, value, BUDGETS.get(name)) for name, value in opening.items()]
        for name, value in measure_memory(path, chosen.reads):
            rows.append((f"worker, {name} [MB]", value, BUDGETS["worker [MB]"]))
    print(f"{chosen.rows:,} rows, {chosen.reads:,} read by each of two workers\n")
    lines = [
        (name, f"{value:.3f}", "" if budget is None else f"{budget:g}")
        for name, value, budget in rows
    ]
    print(table(("", "measured", "budget"), lines))
    return int(any(budget is not None and value > budget for _, value, budget in rows))


if __name__ == "__main__":
    sys.exit(main())
