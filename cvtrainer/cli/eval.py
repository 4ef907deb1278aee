"""`cvtrainer eval`: measure a checkpoint on a split; nothing is trained or written."""

from __future__ import annotations

import argparse
import json

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import number, table
from cvtrainer.cli.words import add_config, checked_config


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("eval", help="measure a checkpoint without training")
    add_config(parser)
    parser.add_argument("--checkpoint", metavar="CKPT", help="overrides the config's checkpoint")
    parser.add_argument(
        "--split", metavar="NAME", help="val, test or train; overrides the config's eval_split"
    )
    parser.add_argument("--json", action="store_true", help="the exact figures as JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate and print every meter."""
    config, overrides = checked_config(args, "eval")

    from cvtrainer.jobs.evaluate import evaluate

    metrics = evaluate(config, checkpoint=args.checkpoint, overrides=overrides, split=args.split)
    if args.json:
        print(json.dumps(metrics))
        return 0
    print(table([(name, number(value)) for name, value in metrics.items()]))
    return 0
