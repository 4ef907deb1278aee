"""`cvtrainer tune lr | batch | sweep`: find a learning rate, a batch size, any values of a config.

Each prints what it found and the override that uses it; the config itself is never changed.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from cvtrainer.cli.program import Parser, Subparsers
from cvtrainer.cli.table import paint
from cvtrainer.cli.words import add_config, checked_config


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words: one of three actions."""
    parser: Parser = subparsers.add_parser("tune", help="find settings: rate, batch size, any")
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, parser_class=Parser
    )

    def action(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Parser:
        added: Parser = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act, parser=added)
        add_config(added)
        return added

    _add_lr(action("lr", _lr, "raise the learning rate over a few steps and see what helps"))
    return parser


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _add_lr(parser: Parser) -> None:
    parser.add_argument("--stage", metavar="NAME", help="by default the first one")
    parser.add_argument("--update", metavar="NAME", help="raise the rate of this update alone")
    parser.add_argument("--min", type=float, default=1e-7, metavar="LR", help="default 1e-7")
    parser.add_argument("--max", type=float, default=10.0, metavar="LR", help="default 10")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="default 100")
    parser.add_argument("--mode", choices=("exponential", "linear"), default="exponential")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="of the table and the picture; default in runs/"
    )


def _lr(args: argparse.Namespace) -> int:
    config, overrides = checked_config(args, "train")

    from cvtrainer.jobs.tune.lr_range import Ramp, lr_range

    found = lr_range(
        config,
        overrides=overrides,
        stage=args.stage,
        update=args.update,
        ramp=Ramp(args.min, args.max, args.steps, args.mode),
        folder=args.out,
    )
    last = found.rates[-1]
    end = f"diverged at {last:.3g}" if found.diverged else f"did not diverge up to {last:.3g}"
    print(f"stage {found.stage}: {len(found.rates)} steps from {found.rates[0]:.3g}; it {end}")
    for path in found.files:
        print(f"wrote {path.as_posix()}")
    if found.steepest is None or found.valley is None:
        print("the loss never fell, so there is no suggestion; look at the picture")
        return 1
    print(f"steepest descent: {found.steepest:.3g}  (valley rule: {found.valley:.3g})")
    print(f"to use it: {paint(shlex.join(found.overrides), 'bold')}")
    return 0
