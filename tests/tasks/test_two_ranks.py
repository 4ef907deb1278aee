"""Two ranks end with the same weights, code books and numbers, whatever the task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.ddp.pair import run_two_ranks
from tests.tasks.two_ranks import CASES
from tests.trainer.test_state import assert_same


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tasks")
    run_two_ranks("tests.tasks.two_ranks", str(folder))
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_ranks_stay_together(ranks: list[dict[str, Any]], name: str) -> None:
    one, other = (rank[name] for rank in ranks)
    assert one["numbers"] == other["numbers"]
    assert all(value == value for value in one["numbers"].values())
    for part, weights in one["weights"].items():
        for key, value in weights.items():
            if "running" not in key:  # each rank's own until an evaluation
                torch.testing.assert_close(value, other["weights"][part][key])


@pytest.mark.long
def test_the_code_book_follows_the_vectors_of_both(ranks: list[dict[str, Any]]) -> None:
    books = [rank["codes"]["weights"]["model"] for rank in ranks]
    for key in ("quantizer.book", "quantizer.used", "quantizer.sums"):
        assert torch.equal(books[0][key], books[1][key]), key


@pytest.mark.long
def test_teachers_are_left_alone(ranks: list[dict[str, Any]]) -> None:
    """Statistics included, and alike on both ranks."""
    one, other = (rank["distillation"]["frozen"]["teacher"] for rank in ranks)
    assert_same(one, other)
    assert int(one["norm.num_batches_tracked"]) == 0
