"""`cvtrainer replay`: run a failed run again up to the step that went wrong, and name the layer."""

from __future__ import annotations

import argparse

from cvtrainer.cli.program import Subparsers


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("replay", help="find the layer where a run went wrong")
    parser.add_argument(
        "source", metavar="RUN_OR_CAPSULE", help="a run folder, or a file of its crash folder"
    )
    parser.add_argument(
        "--device", metavar="DEVICE", help="other than the run's; numbers may then differ"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Replay, then print the report; 1 where it did not happen again."""
    from cvtrainer.jobs.replay import replay

    report = replay(args.source, device=args.device)
    print("\n".join(report.lines))
    return 0 if report.found else 1
