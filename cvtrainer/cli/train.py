"""`cvtrainer train`: train what a config describes, from the beginning or from a checkpoint."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import number, table
from cvtrainer.cli.words import add_config, checked_config
from cvtrainer.core.files import write_whole
from cvtrainer.core.load import SUFFIXES


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("train", help="train what a config describes")
    add_config(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CKPT",
        help="go on from this checkpoint or run folder; auto, or nothing: the newest whole one",
    )
    parser.add_argument("--stage", metavar="NAME", help="train this stage alone")
    parser.add_argument(
        "--num_gpus",
        "--num-gpus",
        type=_count,
        metavar="N",
        help="processes on this machine, one per GPU; overrides ddp.num_gpus; 0: one on the CPU",
    )
    _add_nodes(parser)
    parser.add_argument("--run_dir", "--run-dir", metavar="DIR", help="a fixed run folder")
    _add_rehearsals(parser)
    parser.add_argument("--result", metavar="FILE", help=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, then print where the run lies and what it reached."""
    _take_back_a_word(args)
    config, overrides = checked_config(args, "train")
    if args.fast_dev_run is not None or args.overfit is not None:
        return _rehearse(args, config, overrides)

    from cvtrainer.jobs.launched import nodes_from_words
    from cvtrainer.jobs.train import train

    result = train(
        config,
        overrides=overrides,
        resume=args.resume,
        num_gpus=1 if args.result else args.num_gpus,  # a rank starts no further ranks
        run_dir=args.run_dir,
        stage=args.stage,
        nodes=nodes_from_words(args.num_nodes, args.node_rank, args.rendezvous),
    )
    if result.rank:
        return 0
    if args.result:  # one of several ranks: the process that started them prints
        write_whole(args.result, json.dumps(result.as_plain()))
        return 0
    print(summary(result.metrics))
    print(f"run folder: {result.run}")
    return 0


def _take_back_a_word(args: argparse.Namespace) -> None:
    """`--resume` alone stands before the config or an override: that word is not its value."""
    tries = args.fast_dev_run
    if tries is not None and not tries.isdigit():
        args.words = [*args.words, tries] if "=" in tries else [tries, *args.words]
        args.fast_dev_run = "1"
    word = args.resume
    if word is None or Path(word).is_dir():
        return
    if "=" in word and not Path(word).exists():
        args.words = [*args.words, word]
    elif word.endswith(SUFFIXES):
        args.words = [word, *args.words]
    else:
        return
    args.resume = "auto"


def _add_rehearsals(parser: argparse.ArgumentParser) -> None:
    """Training that is not the real one."""
    tries = parser.add_argument_group("trying it out")
    tries.add_argument(
        "--fast_dev_run",
        "--fast-dev-run",
        nargs="?",
        const="1",
        metavar="N",
        help="N batches (1) of every phase of every stage, saved and resumed; nothing is kept",
    )
    tries.add_argument(
        "--overfit",
        type=_batches,
        metavar="N",
        help="train and evaluate on the same N batches, and see whether the loss falls to zero",
    )


def _rehearse(args: argparse.Namespace, config: str, overrides: list[str]) -> int:
    """Try out, or learn a few batches by heart; 1 where they were not learnt."""
    from cvtrainer.jobs.rehearsal import learn_by_heart, refuse_others, try_out

    refuse_others(
        fast_dev_run=args.fast_dev_run,
        overfit=args.overfit,
        others={"resume": args.resume, "num_gpus": args.num_gpus, "stage": args.stage},
    )
    if args.fast_dev_run is not None:
        done = try_out(config, int(args.fast_dev_run), overrides=overrides, run_dir=args.run_dir)
        print(f"run folder: {done.run}")
        return 0
    found = learn_by_heart(config, args.overfit, overrides=overrides, run_dir=args.run_dir)
    print(f"run folder: {found.result.run}")
    return 0 if found.fell else 1


def _add_nodes(parser: argparse.ArgumentParser) -> None:
    """Several machines: the same command on each of them."""
    nodes = parser.add_argument_group("several machines")
    nodes.add_argument(
        "--num_nodes",
        "--num-nodes",
        "--num_machines",
        "--num-machines",
        metavar="N",
        help="machines that train together; 1:4 for as many as there are",
    )
    nodes.add_argument(
        "--node_rank",
        "--node-rank",
        "--machine_rank",
        "--machine-rank",
        type=int,
        metavar="K",
        help="this machine's number, from 0; the first one writes logs and checkpoints",
    )
    nodes.add_argument(
        "--rendezvous",
        "--dist_url",
        "--dist-url",
        metavar="HOST:PORT",
        help="where they meet: a free port of the first machine",
    )


def summary(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """The last numbers of every stage."""
    rows = [
        (stage, name, number(value))
        for stage, values in metrics.items()
        for name, value in values.items()
    ]
    return table(rows)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GPUs")
    return int(text)


def _batches(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of batches")
    return int(text)
