"""`cvtrainer data pack`: fill a packed cache ahead of training, or check one with `--check`.

Exit codes: 0 done or complete, 1 the check found something missing, changed or damaged.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cvtrainer.cli.program import Parser
from cvtrainer.cli.table import paint

if TYPE_CHECKING:
    from cvtrainer.data.cache.packing import Checked, Packed
    from cvtrainer.jobs.data.opened import Request

_NAMED = 10
"""So many files are named; the rest is counted."""


def add_pack(parser: Parser) -> None:
    """Its own words, beside those that say which data."""
    parser.add_argument("--dir", type=Path, metavar="FOLDER", help="the cache, unless the config's")
    parser.add_argument(
        "--shorter", type=int, metavar="PIXELS", help="keep pictures with that shorter side"
    )
    parser.add_argument("--max-bytes", metavar="SIZE", help="no more than that, such as 20GB")
    parser.add_argument("--check", action="store_true", help="pack nothing, say what is there")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")


def run_pack(
    args: argparse.Namespace,
    request: Request,
    progress: Callable[[str, int, int], None] | None,
) -> int:
    """Pack or check, and print a few lines per split."""
    from cvtrainer.jobs.data.doctor import as_json
    from cvtrainer.jobs.data.pack import Place, pack_data

    outcomes = pack_data(
        request,
        Place(args.dir, args.shorter, args.max_bytes),
        only_check=args.check,
        threads=args.threads,
        progress=progress,
    )
    if args.json:
        print(as_json([one.as_plain() for one in outcomes]), end="")
    else:
        for one in outcomes:
            if one.packed is not None:
                lines = packed_lines(one.packed, one.folder, one.seconds)
            else:
                assert one.checked is not None
                lines = checked_lines(one.checked, one.folder)
            for line in lines:
                print(f"{one.split}: {line}")
    return 0 if all(one.complete for one in outcomes) else 1


def packed_lines(packed: Packed, folder: str, seconds: float) -> list[str]:
    """What packing did."""
    rate = packed.samples / max(seconds, 1e-9)
    added = packed.bytes_after - packed.bytes_before
    lines = [
        f"{packed.values} pictures of {packed.samples} samples in {seconds:.1f} s "
        f"({rate:.0f} samples/s)",
        f"{size_text(added)} added, {size_text(packed.bytes_after)} in {folder}",
    ]
    if packed.failed:
        count = len(packed.failed)
        lines.append(paint(f"{count} cannot be decoded and are left to the run", "yellow"))
        lines += _some([f"{name}: {reason}" for name, reason in packed.failed.items()])
    return lines


def checked_lines(checked: Checked, folder: str) -> list[str]:
    """What is there, and what is not."""
    lines = [
        f"{checked.present} present, {len(checked.missing)} missing, {len(checked.stale)} changed "
        f"since, {checked.damaged} of {checked.entries} entries damaged",
        f"{size_text(checked.size)} in {folder}, {checked.unused} entries of other files",
    ]
    if checked.missing:
        lines += ["missing:", *_some(checked.missing)]
    if checked.stale:
        lines += ["changed:", *_some(checked.stale)]
    return lines


def size_text(count: float) -> str:
    """1234567 -> 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _some(lines: list[str]) -> list[str]:
    rest = len(lines) - _NAMED
    return [f"  {line}" for line in lines[:_NAMED]] + ([f"  and {rest} more"] if rest > 0 else [])
