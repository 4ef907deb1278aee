"""The benchmark of large indexes measures what it says, here on a small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.data_index import generate, measure_opening, measure_workers, open_dataset


def test_it_opens_orders_and_reads(tmp_path: Path) -> None:
    generate(5000).write(tmp_path / "i.arrow")
    data = open_dataset(tmp_path / "i.arrow")
    assert len(data) == 5000
    assert data.record(4999)["meta"]["path"].endswith("/photograph_000004999.jpg")
    found = measure_opening(tmp_path / "i.arrow")
    assert 0 < found["open [s]"] < 2
    assert 0 < found["first order [s]"] < 1


class Hoard:
    """A data set that allocates as it is read."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def __len__(self) -> int:
        return 10

    def record(self, number: int) -> None:
        self.kept.append(np.ones(1 << 20))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_memory_that_only_a_worker_has_is_seen() -> None:
    idle = measure_workers(None, "fork", workers=1, reads=0)
    used = measure_workers(Hoard(), "fork", workers=1, reads=10)
    assert 70 < used - idle < 100
