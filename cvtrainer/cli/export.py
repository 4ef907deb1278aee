"""`cvtrainer export`: a trained model as the file that a device runs, compared before it is given.

Exit codes: 0 every artefact is proven, 1 one is not, 2 the call is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import number, table


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("export", help="make and prove the file that a device runs")
    parser.add_argument("source", metavar="RUN", help="a run folder or a checkpoint")
    parser.add_argument(
        "--target", default="onnx", metavar="NAMES", help="one or several, such as onnx,ncnn"
    )
    parser.add_argument("--config", metavar="FILE", help="the model of a checkpoint without a run")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="instead of the run's folder artifacts"
    )
    parser.add_argument(
        "--max_drop",
        type=float,
        default=0.002,
        metavar="X",
        help="how much worse a metric of the artefact may be (0.002)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Export and say how each artefact was proven."""
    from cvtrainer.jobs.export import Wanted, export

    wanted = Wanted(
        [name.strip() for name in args.target.split(",") if name.strip()],
        args.out,
        args.max_drop,
        args.config,
    )
    done = export(args.source, wanted, say=lambda text: print(text, file=sys.stderr))
    rows = []
    for one in done:
        size = f"{one.path.stat().st_size / 1024:.0f} KiB"
        for name, value in one.proof.trained.items():
            rows.append((one.target, size, name, number(value), number(one.proof.artefact[name])))
    print(table([("target", "size", "metric", "trained", "artefact"), *rows]))
    for one in done:
        count = one.proof.samples
        if one.proven:
            print(f"proven on {count} samples: {one.path.as_posix()}")
        for failure in one.failures:
            print(f"not proven, {one.path.as_posix()}: {failure}", file=sys.stderr)
    return 0 if all(one.proven for one in done) else 1
