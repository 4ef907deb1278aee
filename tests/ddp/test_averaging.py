"""BatchNorm statistics of an average, measured by two ranks together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.ddp.pair import run_two_ranks


@pytest.mark.long
@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_every_batch_of_both_ranks_counts_once(tmp_path: Path, way: str) -> None:
    run_two_ranks("tests.ddp.averaging_ranks", str(tmp_path), way)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    if way == "ddp":  # sharded ranks must step together, so their fillers count as well
        torch.testing.assert_close(first["running_mean"], first["mean by hand"])
        torch.testing.assert_close(first["running_var"], first["var by hand"])
