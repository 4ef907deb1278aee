"""`cvtrainer data stats | preview | doctor | pack | split`: look at data, pack and divide it.

Each takes a config, whose splits are looked at together, or the path of a data set. Exit codes of
`doctor`: 0 nothing wrong, 1 errors (with --strict also warnings), 2 the call is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cvtrainer.cli.data_pack import add_pack, run_pack
from cvtrainer.cli.data_tables import finding_lines, statistics_text
from cvtrainer.cli.program import Parser, Subparsers
from cvtrainer.cli.table import paint, table
from cvtrainer.cli.words import sort_words
from cvtrainer.core.errors import UserError

if TYPE_CHECKING:
    from cvtrainer.jobs.data.opened import Request

PHASES = ("train", "val", "test")


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words: one of its actions."""
    parser: Parser = subparsers.add_parser("data", help="look at data and divide it")
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, parser_class=Parser
    )

    def action(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Parser:
        added: Parser = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act, parser=added)
        _add_source(added)
        return added

    showing = action("stats", _stats, "figures: images, boxes, classes, sizes, lengths")
    showing.add_argument("--json", action="store_true", help="the figures as JSON")
    _add_preview(action("preview", _preview, "contact sheets with labels drawn"))
    _add_doctor(action("doctor", _doctor, "find what is wrong; nothing is changed"))
    add_pack(action("pack", _pack, "decode pictures ahead into a packed cache"))
    _add_split(action("split", _split, "divide a data set and write the parts' lists"))
    return parser


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _add_source(parser: Parser) -> None:
    parser.add_argument("--config", metavar="FILE", help="a config, all of whose splits count")
    parser.add_argument("words", nargs="*", metavar="PATH", help="a data set, without a config")
    parser.add_argument("--stage", metavar="NAME", help="a stage of the config; else the first")
    parser.add_argument("--phase", choices=PHASES, help="one split only")
    parser.add_argument("--type", metavar="NAME", help="the path's format, such as coco")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the data set, such as split=train",
    )
    parser.add_argument(
        "--splits", metavar="A,B", help="open the path once for each of these as its split"
    )
    parser.add_argument("--threads", type=_count, metavar="N", help="else one per processor")


def _add_preview(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, default=Path("preview"), help="folder of the sheets")
    parser.add_argument("--count", type=_count, default=24, metavar="N", help="samples of a split")
    parser.add_argument("--seed", type=int, metavar="N", help="which samples, and their draws")
    parser.add_argument("--plain", action="store_true", help="without the augmented pictures")
    parser.add_argument("--cell", type=_count, default=240, metavar="PIXELS", help="size of one")


def _add_doctor(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument(
        "--fix", type=Path, metavar="PLAN", help="write what could be done; does nothing else"
    )
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    parser.add_argument("--all", action="store_true", help="print every finding")
    parser.add_argument(
        "--no-near", dest="near", action="store_false", help="look for equal copies only"
    )


def _add_split(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder of the lists")
    parser.add_argument(
        "--ratio",
        metavar="A=X,B=Y",
        help="the parts and their shares; by default train=0.8,val=0.2",
    )
    parser.add_argument("--stratify", action="store_true", help="every class in the same shares")
    parser.add_argument(
        "--group",
        nargs="?",
        const="group",
        metavar="COLUMN",
        help="groups stay together, as the data has them or by a column of it",
    )
    parser.add_argument("--folds", type=_count, metavar="K", help="K folds instead of shares")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--format",
        choices=("lists", "file_list", "table"),
        help="paths for `split: {given: …}`, paths with labels, or a table with a split column",
    )
    parser.add_argument("--json", action="store_true", help="a summary as JSON")


def request_of(args: argparse.Namespace) -> Request:
    """Which data the words ask for."""
    from cvtrainer.jobs.data.opened import Request

    paths, overrides = sort_words(args.words)
    if args.config is not None and paths:
        raise UserError(
            f"{paths[0]!r} beside a config", where=args.parser.prog, todo="Give one of them."
        )
    if args.config is None and not paths:
        raise UserError(
            "which data?", where=args.parser.prog, todo="Give a path, or --config FILE."
        )
    if len(paths) > 1:
        raise UserError(f"one path at a time, not {paths[1]!r} too", where=args.parser.prog)
    if overrides and args.config is None:
        raise UserError(
            f"{overrides[0]!r} without a config",
            where=args.parser.prog,
            todo=f"Write --set {overrides[0]} for an argument of the data set.",
        )
    if args.config is not None and (args.type or args.set or args.splits):
        raise UserError(
            "--type, --set and --splits go with a path",
            where=args.parser.prog,
            todo="Write key=value to change the config.",
        )
    return Request(
        path=paths[0] if paths else None,
        config=args.config,
        overrides=overrides,
        stage=args.stage,
        phase=args.phase,
        type=args.type,
        arguments=args.set,
        splits=args.splits.split(",") if args.splits else (),
    )


def _stats(args: argparse.Namespace) -> int:
    request = request_of(args)
    from cvtrainer.jobs.data.doctor import as_json
    from cvtrainer.jobs.data.stats import stats

    found = stats(request, threads=args.threads, progress=progress_line())
    print(as_json(found) if args.json else statistics_text(found), end="" if args.json else "\n")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    request = request_of(args)
    from cvtrainer.jobs.data.doctor import as_json, diagnose

    report = diagnose(
        request,
        threads=args.threads,
        near=args.near,
        report=args.report,
        plan=args.fix,
        progress=progress_line(),
    )
    if args.json:
        print(as_json(report.as_plain()), end="")
    else:
        for line in finding_lines(report.findings, everything=args.all):
            print(line)
        counts = ", ".join(f"{count} {name}s" for name, count in report.counts.items())
        samples = ", ".join(f"{split} {count}" for split, count in report.samples.items())
        print(f"\n{counts} in {samples or 'nothing'}")
    return 1 if report.fails(strict=args.strict) else 0


def _preview(args: argparse.Namespace) -> int:
    request = request_of(args)
    from cvtrainer.jobs.data.preview import preview

    sheets = preview(
        request,
        folder=args.out,
        count=args.count,
        seed=args.seed,
        augmented=not args.plain,
        cell=args.cell,
    )
    for path in sheets.files:
        print(f"wrote {path.as_posix()}")
    for note in sheets.notes:
        print(f"{paint('note', 'yellow')}: {note}")
    return 0


def _pack(args: argparse.Namespace) -> int:
    return run_pack(args, request_of(args), progress_line())


def _split(args: argparse.Namespace) -> int:
    request = request_of(args)
    from cvtrainer.jobs.data.doctor import as_json
    from cvtrainer.jobs.data.split import Division, divide, parse_ratio

    division = Division(
        ratio=parse_ratio(args.ratio) if args.ratio else None,
        stratify=True if args.stratify else None,
        group=args.group,
        folds=args.folds,
        seed=args.seed,
    )
    done = divide(request, division, folder=args.out, form=args.format)
    if args.json:
        print(as_json(done.as_plain()), end="")
        return 0
    for path in done.files:
        print(f"wrote {path.as_posix()}")
    print(table(done.rows()))
    print(f"\nin a config:  {paint(done.usage, 'bold')}")
    return 0


def progress_line() -> Callable[[str, int, int], None] | None:
    """A line on stderr that counts, where somebody looks."""
    if not sys.stderr.isatty():
        return None

    def show(split: str, done: int, count: int) -> None:
        if done == count or done % 64 == 0:
            end = "\r\033[K" if done == count else ""
            sys.stderr.write(f"\r{split}: {done} of {count}{end}")
            sys.stderr.flush()

    return show


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
