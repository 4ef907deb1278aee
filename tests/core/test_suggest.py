"""What counts as clearly nearest."""

from __future__ import annotations

import pytest

from cvtrainer.core.suggest import distance, nearest


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [("lr", "lr", 0), ("decay", "dceay", 1), ("decay", "deca", 1), ("", "abc", 3), ("ab", "ba", 1)],
)
def test_distance_counts_a_swap_once(left, right, edits):
    assert distance(left, right) == edits


@pytest.mark.parametrize(
    ("word", "candidates", "meant"),
    [
        ("weight_dacay", ["weight_decay", "lr", "betas"], "weight_decay"),
        ("epoch", ["epochs", "name", "model"], "epochs"),
        ("Optimizer", ["optimizer", "criterion"], "optimizer"),
        ("numWorkers", ["num_workers", "num_gpus"], "num_workers"),
        ("rl", ["lr", "eps"], "lr"),
        ("cat", ["car", "can"], None),
        ("banana", ["optimizer", "hooks"], None),
        ("val", ["val"], None),
    ],
)
def test_only_a_clear_winner_is_suggested(word, candidates, meant):
    assert nearest(word, candidates) == meant
