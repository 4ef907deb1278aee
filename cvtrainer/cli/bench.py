"""`cvtrainer bench`: how long artefacts take on this host, how much memory, and how large they are.

Exit codes: 0 all that run here were measured, 1 one could not be, or none runs here, 2 the call is
wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import table

if TYPE_CHECKING:
    from cvtrainer.jobs.bench.bench import Benched


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("bench", help="measure how long artefacts take, side by side")
    parser.add_argument(
        "words",
        nargs="+",
        metavar="ARTEFACT",
        help="what export wrote: artefacts, folders of them, packages, one of a package "
        "(model.cvt:int8)",
    )
    parser.add_argument(
        "--threads", default="1", metavar="N", help="one or several, such as 1,2; 1 by default"
    )
    parser.add_argument(
        "--batch", default="1", metavar="N", help="pictures at a time, such as 1,8; 1 by default"
    )
    parser.add_argument(
        "--runs", type=int, default=200, metavar="N", help="calls that count; 200 by default"
    )
    parser.add_argument(
        "--rounds", type=int, default=10, metavar="N", help="blocks they come in; 10 by default"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, metavar="N", help="calls before each block; 3 by default"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="at most, for each row; 10"
    )
    parser.add_argument(
        "--device",
        default="",
        metavar="NAMES",
        help="also an estimate for a device, such as stm32h7, or your own FILE.yaml",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="latencies as a PNG")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, and say what was seen and what it does not mean."""
    from cvtrainer.core.files import write_whole
    from cvtrainer.jobs.bench.bench import Measure, bench

    measure = Measure(
        _numbers(args.threads, "--threads"),
        _numbers(args.batch, "--batch"),
        args.runs,
        args.rounds,
        args.warmup,
        args.seconds,
    )
    devices = [name.strip() for name in args.device.split(",") if name.strip()]
    done = bench(
        args.words, measure, devices=devices, say=lambda text: print(text, file=sys.stderr)
    )
    if args.json:
        print(json.dumps(done.plain(), indent=2, ensure_ascii=False))
    else:
        _print(done)
    for failure in done.failures:
        print(failure, file=sys.stderr)
    if args.plot is not None and done.rows:
        from cvtrainer.jobs.bench.plot import draw_latencies

        title = f"{done.host.processor}: p50 to p99 of a call, p90 in red; not the device"
        write_whole(args.plot, draw_latencies(done.rows, title=title))
        print(f"wrote {args.plot.as_posix()}", file=sys.stderr)
    return 1 if done.failures or not done.rows else 0


def _print(done: Benched) -> None:
    if done.rows:
        print(table([_HEADS, *_rows(done)]))
        print()
    host = done.host
    known = "not known" if host.instructions is None else " ".join(host.instructions) or "none"
    print(f"host: {host.processor}, {host.machine}, {host.cores} cores; {known}")
    for note in done.notes:
        print(note)
    for name, estimates in done.estimates.items():
        for one in estimates:
            print(f"{name}: {one.text}")
            most = [f"{layer.name} {layer.milliseconds:.3g} ms" for layer in one.slowest]
            print(f"  slowest: {', '.join(most)}")


_FOR_P99 = 100
"""Of fewer calls the 99th in a hundred would be the slowest."""
_HEADS = (
    *("artefact", "threads", "batch", "p50 ms", "p90 ms", "p99 ms", "p50 of blocks"),
    *("inputs/s", "memory", "size", "calls"),
)


def _rows(done: Benched) -> Iterator[tuple[str, ...]]:
    sizes = {one.name: one.size for one in done.subjects}
    for row in sorted(done.rows, key=lambda one: (one.batch, one.threads or 0)):
        low, high = row.blocks
        yield (
            row.name,
            str(row.threads or "its own"),
            str(row.batch),
            f"{row.p50_ms:.3f}",
            f"{row.p90_ms:.3f}",
            f"{row.p99_ms:.3f}" if row.calls >= _FOR_P99 else "",
            f"{low:.3f} to {high:.3f}",
            f"{row.per_second:.0f}",
            "?" if row.memory_bytes is None else f"{row.memory_bytes / 2**20:.1f} MiB",
            f"{sizes[row.name] / 1024:.0f} KiB",
            str(row.calls),
        )


def _numbers(text: str, word: str) -> list[int]:
    from cvtrainer.core.errors import UserError

    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise UserError(f"{text!r} are no numbers", where=word, todo="Write 1 or 1,2.") from None
