"""`cvtrainer list`: the parts that a config can name, by kind, without importing any of them."""

from __future__ import annotations

import argparse

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import paint, table


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("list", help="list the parts that a config can name")
    parser.add_argument("kind", nargs="?", help="one kind only, such as hooks or meters")
    return parser


def run(args: argparse.Namespace) -> int:
    """One block per kind."""
    from cvtrainer.jobs.listing import list_parts

    blocks = []
    for shelf in list_parts(args.kind):
        lines = [paint(shelf.kind, "bold")]
        if shelf.parts:
            rows = [(part.name, part.summary, ", ".join(part.capabilities)) for part in shelf.parts]
            lines.append(table(rows, indent="  "))
        if shelf.besides:
            lead = "and " if shelf.parts else ""
            lines.append(f"  {paint(lead + shelf.besides, 'dim')}")
        if not shelf.parts and not shelf.besides:
            lines.append("  none")
        blocks.append("\n".join(lines))
    print("\n\n".join(blocks))
    return 0
