"""Which epoch is best: in floats, and as the 8-bit artefact that the deploy gate examines.

    python -m benchmarks.deploy.gate [--seeds 0,1,2] [--epochs 16]

Trains a small network on the digits of scikit-learn with a gate in each epoch, and says what would
have been delivered without it: the artefact of the epoch that is best in floats.
"""

from __future__ import annotations

import argparse
import json
from tempfile import TemporaryDirectory

import cvtrainer

_CONFIG = "apps/digits/train.yaml"
_WORDS = (
    "stages.train.model_args.width=4",
    "stages.train.optimizer.kwargs.lr=0.01",
    "stages.train.hooks.ema.enabled=false",
    "stages.train.hooks.lr_scheduler.enabled=false",
    "stages.train.hooks.progress_bar.enabled=false",
    "stages.train.deploy.max_drop=0.05",
    "stages.train.deploy.calibrator=max",
    "stages.train.deploy.sample=64",
)


def main() -> None:
    """Train and print a row per seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=16)
    args = parser.parse_args()
    rows = [one_run(int(seed), args.epochs) for seed in args.seeds.split(",")]
    print("| seed | best in floats | its artefact | the gate's best | its floats | share of time |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(row)


def one_run(seed: int, epochs: int) -> str:
    """A line of the table."""
    with TemporaryDirectory() as folder:
        words = [*_WORDS, f"seed={seed}", f"stages.train.epochs={epochs}", f"dir={folder}/run"]
        run = cvtrainer.train(_CONFIG, overrides=words).run
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        artefact = json.loads(next((run / "artifacts" / "best").glob("*.json")).read_text())
    floats = {one["epoch"]: one["val/accuracy"] for one in lines if one["phase"] == "val"}
    gated = [one for one in lines if one["phase"] == "deploy"]
    bits = {one["epoch"]: one["deploy/accuracy"] for one in gated}
    best = max(floats, key=lambda epoch: floats[epoch])
    chosen = artefact["proof"]["gate"]["epoch"]
    return (
        f"| {seed} | epoch {best}: {floats[best]:.4f} | {bits[best]:.4f} "
        f"| epoch {chosen}: {bits[chosen]:.4f} | {floats[chosen]:.4f} "
        f"| {gated[-1]['deploy/time_share']:.0%} |"
    )


if __name__ == "__main__":
    main()
