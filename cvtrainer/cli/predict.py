"""`cvtrainer predict`: what a trained model says of pictures, folders, patterns, tensor files.

Exit codes: 0 at least one input was read, 1 none could be, 2 the call is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cvtrainer.cli.program import Subparsers


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("predict", help="ask a trained model about pictures")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="INPUT",
        help="file, folder or pattern; a package (model.cvt) as the first of them is the model",
    )
    parser.add_argument(
        "--run", dest="folder", metavar="FOLDER", help="a run, with its best checkpoint"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="a checkpoint; of a run or any weights"
    )
    parser.add_argument("--config", metavar="FILE", help="the model of a checkpoint without a run")
    parser.add_argument(
        *("--artifact", "--artefact"),
        dest="artefact",
        metavar="NAME",
        help="of a package: its name or precision",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="predictions.jsonl, predictions.csv, pictures"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="a line of JSON for each input")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table with a row per answer")
    parser.add_argument("--make", type=int, metavar="N", help="of a GAN: N new pictures, no INPUT")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of --make; 0 by default")
    parser.add_argument("--draw", action="store_true", help="pictures with the answers drawn on")
    parser.add_argument("--batch_size", type=int, default=32, metavar="N", help="32 by default")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N")
    return parser


def run(args: argparse.Namespace) -> int:
    """Predict; lines go to standard output where no file is named."""
    from cvtrainer.jobs.predict import Wanted, predict, source_of

    done = predict(
        source_of(
            run=args.folder, checkpoint=args.checkpoint, config=args.config, words=args.words
        ),
        args.words,
        Wanted(
            args.out,
            args.json,
            args.csv,
            args.draw,
            args.batch_size,
            make=args.make,
            seed=args.seed,
            artefact=args.artefact,
        ),
        device=args.device,
    )
    for path in done.files:
        print(f"wrote {path.as_posix()}")
    if done.drawn:
        print(f"drew {done.drawn} pictures in {(args.out / 'pictures').as_posix()}")
    if done.made:
        print(f"wrote {done.made} made pictures in {(args.out / 'made').as_posix()}")
    if done.failed:
        print(f"{done.read} read, {len(done.failed)} could not be", file=sys.stderr)
    return 0 if done.read else 1
