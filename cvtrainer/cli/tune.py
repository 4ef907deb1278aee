"""`cvtrainer tune lr | batch | sweep`: find a learning rate, a batch size, any values of a config.

Each prints what it found and the override that uses it; the config itself is never changed.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from cvtrainer.cli.program import Parser, Subparsers
from cvtrainer.cli.table import number, paint, table
from cvtrainer.cli.words import add_config, checked_config


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words: one of three actions."""
    parser: Parser = subparsers.add_parser("tune", help="find settings")
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, parser_class=Parser
    )

    def action(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Parser:
        added: Parser = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act, parser=added)
        add_config(added)
        return added

    _add_lr(action("lr", _lr, "raise the learning rate over a few steps and see what helps"))
    _add_batch(action("batch", _batch, "find the largest batch size that fits, and the fastest"))
    _add_sweep(action("sweep", _sweep, "search values of any keys, trial by trial"))
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
        print(
            "the loss did not fall, so there is no suggestion; look at the picture, and give more "
            "--steps or a smaller span from --min to --max"
        )
        return 1
    print(f"steepest descent: {found.steepest:.3g}  (valley rule: {found.valley:.3g})")
    print(f"to use it: {paint(shlex.join(found.overrides), 'bold')}")
    return 0


def _add_batch(parser: Parser) -> None:
    parser.add_argument("--stage", metavar="NAME", help="by default the first one")
    parser.add_argument("--max", type=_count, metavar="N", help="try nothing larger")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="the limit, such as 2GiB; default on a CPU: 80%% of what is free, on a GPU: its own",
    )


def _batch(args: argparse.Namespace) -> int:
    config, overrides = checked_config(args, "train")

    from cvtrainer.jobs.tune.batch import memory_size, tune_batch

    found = tune_batch(
        config,
        overrides=overrides,
        stage=args.stage,
        most=args.max,
        memory=memory_size(args.memory),
    )
    lines = [("batch", "peak memory", "images/s", "verdict")]
    for one in found.tries:
        peak = f"{one.peak_bytes / 2**20:,.0f} MiB" if one.peak_bytes else ""
        rate = f"{one.images_per_s:.1f}" if one.images_per_s else ""
        verdict = f"{one.verdict}, {one.note}" if one.note else one.verdict
        lines.append((str(one.batch), peak, rate, verdict))
    print(table(lines))
    if found.limit_bytes:
        print(f"limit: {found.limit_bytes / 2**20:,.0f} MiB, of which 5 % stay free")
    if found.answer is None:
        print("not even one sample fits")
        return 1
    fastest = found.fastest
    reason = ", and no larger one was to be tried" if found.answer.all_there_is else ""
    print(f"largest that fits: {found.answer.batch}{reason}")
    print(f"to use it: {paint(shlex.quote(found.override(found.answer.batch)), 'bold')}")
    if fastest is not None and fastest.batch != found.answer.batch:
        print(f"fastest: {fastest.batch} with {fastest.images_per_s:.1f} images/s")
        print(f"to use that: {paint(shlex.quote(found.override(fastest.batch)), 'bold')}")
    elif fastest is not None:
        print("it is the fastest one as well")
    return 0


def _add_sweep(parser: Parser) -> None:
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="KEY=RANGE",
        help="log(1e-4,1e-1) float(0,1) int(1,8) logint(8,512) choice(a,b); as often as needed",
    )
    parser.add_argument("--space", type=Path, metavar="FILE", help="the same as YAML, key: range")
    parser.add_argument(
        "--trials", type=_count, default=20, metavar="N", help="of the whole study; default 20"
    )
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="K", help="trials at once; default 1"
    )
    parser.add_argument(
        "--storage",
        type=Path,
        metavar="FILE",
        help="of the study: SQLite for .db, else a journal; default below runs/",
    )
    parser.add_argument("--metric", metavar="NAME", help="default val/accuracy, else val/loss")
    parser.add_argument(
        "--direction", choices=("maximize", "minimize"), help="default: as the meter says"
    )
    parser.add_argument("--pruner", choices=("median", "hyperband", "none"), default="median")
    parser.add_argument("--sampler", choices=("tpe", "random", "grid"), default="tpe")


_SHOWN = 20
"""So many trials are printed; the table in the study's folder has them all."""


def _sweep(args: argparse.Namespace) -> int:
    from cvtrainer.jobs.tune.space import check_space, read_space

    space = read_space(args.param, args.space)
    config, overrides = checked_config(args, "train")
    check_space(config, overrides, space)

    from cvtrainer.jobs.tune.sweep import Search, sweep

    found = sweep(
        config,
        space,
        overrides=overrides,
        search=Search(
            trials=args.trials,
            workers=args.workers,
            metric=args.metric,
            direction=args.direction,
            sampler=args.sampler,
            pruner=args.pruner,
        ),
        storage=args.storage,
    )
    keys = [parameter.key for parameter in space]
    sign = -1 if found.direction == "maximize" else 1
    rows = [row for row in found.rows if row.state != "taken over"]
    rows.sort(key=lambda row: (row.value is None, sign * (row.value or 0.0), row.number))
    lines = [("trial", "state", found.metric, *keys, "")]
    for row in rows[:_SHOWN]:
        value = "" if row.value is None else number(row.value)
        words = [_short(row.values.get(key, "")) for key in keys]
        lines.append((str(row.number), row.state, value, *words, row.reason))
    print(table(lines))
    if len(rows) > _SHOWN:
        print(f"and {len(rows) - _SHOWN} more in {(found.folder / 'trials.csv').as_posix()}")
    print(f"study: {found.storage.as_posix()}, runs: {(found.folder / 'trials').as_posix()}")
    if found.best is None or found.best_config is None:
        print("no trial was completed")
        return 1
    print(f"best: trial {found.best.number}")
    command = f"cvtrainer train --config {shlex.quote(found.best_config.as_posix())}"
    print(f"to use it: {paint(command, 'bold')}")
    return 0


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
