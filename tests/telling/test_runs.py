"""Masks as runs and their text."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval import mask as reference

from cvtrainer.telling.runs import run_text, runs_of


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (37, 23), (260, 300)])
def test_runs_are_those_of_coco(share: float, size: tuple[int, int]) -> None:
    drawn = np.random.default_rng(7).random(size)
    for mask in (drawn < share, drawn.cumsum(0) < share * 60):
        expected = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert run_text(runs_of(mask)) == expected["counts"].decode()
        assert sum(runs_of(mask)) == mask.size
        assert sum(runs_of(mask)[1::2]) == int(mask.sum())
