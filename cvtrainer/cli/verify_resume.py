"""`cvtrainer verify-resume`: kill and resume runs of a config, and compare with a straight one.

Exit code 0: equal to the last bit. 1: different; the report names the owner.
"""

from __future__ import annotations

import argparse
import json
import sys

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.words import add_config, checked_config


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("verify-resume", help="check that a resumed run is exact")
    add_config(parser)
    parser.add_argument(
        "--kills", type=_count, default=3, metavar="N", help="how often it is killed (3)"
    )
    parser.add_argument(
        "--steps",
        "--max_steps",
        "--max-steps",
        type=_count,
        metavar="N",
        help="optimizer steps of each stage; by default as many as 24 batches make",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="chooses the places of the kills (0)"
    )
    parser.add_argument("--json", action="store_true", help="the verdict as JSON on stdout")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the verdict."""
    config, overrides = checked_config(args, "train")

    from cvtrainer.jobs.verify_resume import verify_resume

    verdict = verify_resume(
        config,
        overrides=overrides,
        kills=args.kills,
        steps=args.steps,
        seed=args.seed,
        say=lambda text: print(f"verify-resume: {text}", file=sys.stderr, flush=True),
    )
    if args.json:
        print(json.dumps(verdict.as_plain(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(verdict.lines()))
    return 0 if verdict.equal else 1


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
