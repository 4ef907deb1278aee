"""`cvtrainer model fit`: does the model of a config fit into a board, and what would.

Exit codes: 0 it fits, or no limit was given; 1 it does not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cvtrainer.cli.program import Parser
from cvtrainer.cli.table import paint, table
from cvtrainer.cli.words import add_config, config_and_overrides

if TYPE_CHECKING:
    from cvtrainer.deploy.planner.plan import Plan
    from cvtrainer.jobs.model.fit import Fit


def add_fit(parser: Parser) -> None:
    """Its own words, beside those that say which model."""
    add_config(parser)
    parser.add_argument("--ram", metavar="SIZE", help="for activations, such as 256k")
    parser.add_argument("--flash", metavar="SIZE", help="for weights, such as 1M")
    parser.add_argument(
        "--device", metavar="NAME", help="a known board, such as stm32h7, or your own FILE.yaml"
    )
    parser.add_argument("--precision", default="int8", metavar="P", help="int8 (default) or float")
    parser.add_argument(
        "--in-place",
        default="elementwise",
        metavar="WORDS",
        help="what the runtime does without new memory: elementwise (default), concat, "
        "depthwise, with commas between them; or none",
    )
    parser.add_argument("--network", metavar="NAME", help="where the stage has several")


def run_fit(args: argparse.Namespace) -> int:
    """Plan, print, and look for something smaller where it does not fit."""
    config, overrides = config_and_overrides(args)

    from cvtrainer.jobs.model.fit import Board, fit

    words = [word.strip() for word in args.in_place.split(",") if word.strip() not in ("", "none")]
    found = fit(
        config,
        Board(
            args.ram,
            args.flash,
            args.precision,
            words,
            args.device,
        ),
        overrides=overrides,
        stage=args.stage,
        shape=args.input,
        network=args.network,
    )
    if args.json:
        print(json.dumps(found.as_plain(), indent=2, ensure_ascii=False))
    else:
        _print(found)
    return 1 if found.findings else 0


def _print(found: Fit) -> None:
    planned = found.plan
    print(table([_HEADS, *_layers(planned)]))
    print()
    print(table(list(_totals(found))))
    for tensor in planned.peak_tensors:
        shape = "x".join(map(str, tensor.shape))
        print(f"  {_kib(tensor.bytes)}  {tensor.name} {shape}, {tensor.role}")
    print()
    for line in _verdict(found):
        print(line)
    if found.estimate is not None:
        print(found.estimate if isinstance(found.estimate, str) else found.estimate.text)


_HEADS = ("layer", "operation", "output", "MACs", "weights", "memory held")


def _layers(planned: Plan) -> Iterator[tuple[str, ...]]:
    for layer in planned.layers:
        yield (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            f"{layer.macs:,}" if layer.macs else "",
            _kib(layer.weight_bytes) if layer.weight_bytes else "",
            _kib(layer.held_bytes) + (" most" if layer.held_bytes == planned.held_bytes else ""),
        )


def _totals(found: Fit) -> Iterator[tuple[str, str]]:
    planned = found.plan
    inputs = ", ".join("x".join(map(str, shape)) for shape in planned.inputs)
    yield "stage", found.stage
    yield "input", f"{inputs} ({found.input_from})"
    yield "precision", f"{planned.precision}, in place: {', '.join(planned.in_place) or 'nothing'}"
    if planned.folded:
        folded = ", ".join(f"{what} {count}" for what, count in sorted(planned.folded.items()))
        yield "folded away", folded
    yield "MACs", f"{planned.macs:,}"
    weights = f"{_kib(planned.weight_bytes)}, and {_kib(planned.scale_bytes)} of scales"
    yield "weights", weights if planned.scale_bytes else _kib(planned.weight_bytes)
    arena = f"{_kib(planned.arena_bytes)} in an arena, placed by {planned.order}"
    yield "activations", f"{arena}; as executed {_kib(planned.by_order['execution'])}"
    if planned.by_order["size"] != planned.arena_bytes:
        yield "", f"{_kib(planned.by_order['size'])} placed by size, as TFLM does"
    told = {planned.arena_bytes}
    for rules, count in planned.by_rules.items():  # from the fewest abilities to the most
        if count not in told:
            told.add(count)
            yield "", f"{_kib(count)} with in place: {rules}"
    yield "most held", f"{_kib(planned.held_bytes)} in {planned.peak}:"


def _verdict(found: Fit) -> Iterator[str]:
    if found.fits is None:
        yield "No limit was given: --ram 256k --flash 1M."
        return
    if found.fits:
        yield paint("It fits.", "green")
        return
    yield paint("It does not fit.", "red")
    for finding in found.findings:
        yield f"  {finding}"
    if found.smaller:
        yield "What would, each alone:"
    for one in found.smaller:
        yield f"  {one.words}  ({_kib(one.arena_bytes)} RAM, {_kib(one.size_bytes)} flash)"
    for line in found.missing:
        yield f"  {line}"


def _kib(count: int) -> str:
    return f"{count / 1024:,.1f} KiB"
