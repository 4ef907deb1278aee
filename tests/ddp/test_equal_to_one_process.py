"""Two gloo ranks compute what one process computes: weights, averages, optimizers, every meter.

The data is uneven (19 and 13 samples in batches of 6): some batches leave a rank without samples.
In float64 the difference after ten steps is below 1e-12, in float32 below 1e-5: rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from cvtrainer.core.catalog import METERS
from cvtrainer.ddp.world import World
from tests.ddp.cases import CASES, STEPS, run
from tests.ddp.meter_cases import KINDS, measured
from tests.ddp.pair import run_two_ranks

Outcomes = list[dict[str, Any]]

HELD = {"accumulation": 3, "two optimizers, accumulation": 2}
"""Batches per exchange of the cases in which ranks exchange once per step."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What both ranks found, by case; one start of processes for all of them."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two_ranks("tests.ddp.cases", str(folder))
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {
            name: leaf
            for key, part in value.items()
            for name, leaf in leaves(part, f"{path}/{key}").items()
        }
    return {path: value}


@pytest.mark.seed("S0-105", "S1-63", "S2-13", "S3-58")
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_end_where_one_process_ends(two: Outcomes, name: str) -> None:
    alone = run(CASES[name], World())
    assert alone["steps"] == STEPS
    exact = CASES[name].dtype == torch.float64
    bound = CASES[name].bound or (1e-12 if exact else 1e-5)
    for found in (ranks[name] for ranks in two):
        for part in ("networks", "optimizers", "hooks", "metrics", "steps"):
            ours, theirs = leaves(found[part]), leaves(alone[part])
            assert ours.keys() == theirs.keys(), part
            for key, value in theirs.items():
                if isinstance(value, Tensor):
                    torch.testing.assert_close(ours[key], value, rtol=0, atol=bound, msg=key)
                elif "accuracy" in key and CASES[name].bound is None:
                    assert ours[key] == value, key
                else:
                    assert ours[key] == pytest.approx(value, rel=bound), key
    ours, theirs = (leaves(found["networks"]) for found in (two[0][name], alone))
    apart = max(float((ours[key] - value).abs().max()) for key, value in theirs.items())
    assert CASES[name].bound is None or apart > 1e-5, "it is as precise as without"
    for key, value in leaves(two[0][name]["networks"]).items():
        assert torch.equal(value, leaves(two[1][name]["networks"])[key]), key


def test_every_registered_meter_is_compared() -> None:
    compared = {short for kind in KINDS.values() for short in kind.meters}
    more = {"sum"}  # a second one of torchmetrics
    assert compared == {*METERS.names()} | more, "not the cases of tests/ddp/meter_cases.py"


@pytest.mark.seed("S3-58")
@pytest.mark.parametrize("kind", KINDS)
def test_meters_of_two_ranks_are_those_of_one_process(two: Outcomes, kind: str) -> None:
    alone = measured(kind, World())
    assert len(alone) >= len(KINDS[kind].meters)
    bound = 1e-6 if kind == "pictures" else 1e-12  # their features are convolutions in float32
    for ranks in two:
        assert ranks["meters"][kind] == pytest.approx(alone, rel=bound, abs=bound)


@pytest.mark.seed("S3-72")
@pytest.mark.parametrize("name", HELD)
def test_gradients_are_exchanged_with_the_last_batch_of_a_step_only(
    two: Outcomes, name: str
) -> None:
    every, batches = HELD[name], 4
    for ranks in two:
        calls = ranks[name]["exchanges"]
        ends = [place % batches % every == every - 1 for place in range(len(calls))]
        last = [place % batches == batches - 1 for place in range(len(calls))]
        for count, end, short in zip(calls, ends, last, strict=True):
            assert bool(count) == (end or short), calls
    assert all(two[0]["plain"]["exchanges"])


def test_sharded_parameters_lie_in_pieces(two: Outcomes) -> None:
    for name in CASES:
        assert two[0][name]["in pieces"] == name.startswith("fsdp"), name
