"""What each peer's script prints: one JSON line that run.py puts into its table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib import metadata

from benchmarks.near_empty import Pair, TimedBatches, alternate, make_pairs, pin_to_one_core

Build = Callable[[TimedBatches], Callable[[], None]]
"""Given the batches, returns a function that trains once over them."""


def run_peer(package: str, variants: dict[str, Build], form: Callable[[Pair], object]) -> None:
    """Measure each variant against the hand-written loop and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--blocks", type=int, default=30)
    options = parser.parse_args()
    pin_to_one_core()
    for variant, build in variants.items():
        batches = TimedBatches([form(pair) for pair in make_pairs(options.steps)])
        train = build(batches)

        def block(train: Callable[[], None] = train, batches: TimedBatches = batches) -> float:
            train()
            return batches.seconds_per_step * options.steps

        cost = alternate(block, steps=options.steps, blocks=options.blocks)
        result = {
            "peer": package,
            "version": metadata.version(package),
            "variant": variant,
            "by_hand_us": cost.by_hand_us,
            "with_loop_us": cost.with_loop_us,
            "added_us": cost.difference_us,
        }
        print(json.dumps(result), flush=True)
