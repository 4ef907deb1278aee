"""`cvtrainer new`: start a project below apps/, on own pictures or on a generated world."""

from __future__ import annotations

import argparse
from pathlib import Path

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import paint


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("new", help="start a project of your own")
    parser.add_argument("name", help="the project's name, a word that Python can import")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="your pictures: DIR/train/<class>/ and DIR/val/<class>/, or DIR/<class>/",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the project, then say what to run."""
    from cvtrainer.jobs.new import create_project

    project = create_project(args.name, data=args.data)
    for path in project.files:
        print(f"wrote {path.as_posix()}")
    for note in project.notes:
        print(f"{paint('note', 'yellow')}: {note}")
    print(f"\ntrain it:     {paint(project.train_command, 'bold')}")
    print(f"evaluate it:  {paint(project.eval_command, 'bold')}")
    return 0
