"""`cvtrainer model`: what a config's model costs (`show`), and whether a board has room (`fit`)."""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

from cvtrainer.cli.data_pack import size_text
from cvtrainer.cli.model_fit import add_fit, run_fit
from cvtrainer.cli.program import Parser, Subparsers
from cvtrainer.cli.table import table
from cvtrainer.cli.words import add_config, config_and_overrides

if TYPE_CHECKING:
    from cvtrainer.jobs.model.show import Layer, Shown


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words: its action."""
    parser: Parser = subparsers.add_parser("model", help="look at the model of a config")
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, parser_class=Parser
    )
    text = "layers, parameters, multiply-accumulates, shapes, memory"
    showing: Parser = actions.add_parser("show", help=text, description=text)
    add_config(showing)
    _add_model(showing)
    showing.add_argument("--depth", type=int, metavar="N", help="levels of the tree; else all")
    text = "does it fit into so much RAM and flash, and what would"
    fitting: Parser = actions.add_parser("fit", help=text, description=text)
    add_fit(fitting)
    _add_model(fitting)
    return parser


def _add_model(parser: Parser) -> None:
    """Words of both actions: which model, with which input."""
    parser.set_defaults(parser=parser)
    parser.add_argument("--stage", metavar="NAME", help="else the first with a model")
    parser.add_argument(
        "--input", type=_shape, metavar="CxHxW", help="a shape, such as 3x224x224, not the data's"
    )
    parser.add_argument("--json", action="store_true", help="all of it as JSON")


def run(args: argparse.Namespace) -> int:
    """One of the actions."""
    return run_fit(args) if args.action == "fit" else _show(args)


def _show(args: argparse.Namespace) -> int:
    """Build, look, print."""
    config, overrides = config_and_overrides(args)

    from cvtrainer.jobs.model.show import show

    shown = show(config, overrides=overrides, stage=args.stage, shape=args.input)
    if args.depth is not None:
        shown.layers = [layer for layer in shown.layers if layer.depth <= args.depth]
    if args.json:
        print(json.dumps(shown.as_plain(), indent=2, ensure_ascii=False))
        return 0
    heads = ("layer", "type", "output", "parameters", "MACs", "output memory")
    print(table([heads, *(_row(layer) for layer in shown.layers)]))
    print()
    print(table(list(_totals(shown))))
    return 0


def _row(layer: Layer) -> tuple[str, ...]:
    name = "  " * layer.depth + layer.name.rpartition(".")[2]
    parameters = f"{layer.parameters:,}" if layer.parameters else ""
    if layer.parameters and not layer.trainable:
        parameters += " frozen"
    elif layer.trainable < layer.parameters:
        parameters += f" ({layer.trainable:,} trainable)"
    macs = f"{layer.macs:,}" if layer.macs else ""
    if not layer.calls:
        return name, layer.type, "" if layer.used else "not used", parameters, macs, ""
    times = f" x{layer.calls}" if layer.calls > 1 else ""
    return name, layer.type + times, _shapes(layer.shape), parameters, macs, size_text(layer.bytes)


def _totals(shown: Shown) -> list[tuple[str, str]]:
    frozen = shown.parameters - shown.trainable
    rows = [
        ("input", f"{_shapes(shown.input)} ({shown.input_from})"),
        ("output", _shapes(shown.outputs)),
        ("parameters", f"{shown.parameters:,}: {shown.trainable:,} trainable, {frozen:,} frozen"),
        ("weights", f"{size_text(shown.weight_bytes)}, with {shown.buffers:,} values in buffers"),
        ("MACs", f"{shown.macs:,} a sample"),
        ("activations", f"{size_text(shown.peak_bytes)} a sample at the most, in evaluation"),
    ]
    if shown.training_bytes is not None:
        text = f"{size_text(shown.training_bytes)} a sample are kept for the backward pass"
        rows.append(("in training", text))
    if shown.takes is not None:
        rows.insert(1, ("pictures", _taken(shown.takes)))
    if shown.published is not None:
        rows.insert(-1, ("published", _published(shown.published)))
    if shown.capabilities is not None:
        rows.append(("it is", ", ".join(shown.capabilities) or "nothing that is promised"))
    return rows


def _published(known: dict[str, Any]) -> str:
    """The pictures that published weights know."""
    size = f"{known['height']} x {known['width']}"
    return f"its library's weights know pictures of {size}; scaled to 0..1; {_normalised(known)}"


def _normalised(spec: dict[str, Any]) -> str:
    shown = [", ".join(f"{one:g}" for one in spec[word]) for word in ("mean", "std")]
    return f"less {shown[0]}, by {shown[1]}"


def _taken(spec: dict[str, Any]) -> str:
    """What becomes of a picture's file, in a few words."""
    steps = [str(step["kind"]).replace("_", " ") for step in spec["steps"]]
    parts = ["grey" if spec["channels"] == 1 else f"{spec['channels']} channels", *steps]
    parts.append("scaled to 0..1" if spec["scaled"] else "bytes")
    if spec["mean"]:
        parts.append(_normalised(spec))
    return "; ".join(parts)


def _shapes(value: Any) -> str:
    """`1x8x4x4`, or names with shapes."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shapes(part)}" for name, part in value.items())
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return "x".join(map(str, value)) or "a number"
    if isinstance(value, list):
        return ", ".join(_shapes(one) for one in value)
    return str(value)


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 3x224x224")
    return tuple(map(int, text.split("x")))
