"""`cvtrainer eval`: measure a checkpoint or an artefact on a split; nothing is written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import number, table
from cvtrainer.cli.words import add_config, checked_config, sort_words
from cvtrainer.core.errors import UserError

if TYPE_CHECKING:
    from cvtrainer.jobs.evaluate_artifact import Measured, Whose

_CONFIGS = (".yaml", ".yml", ".py", ".json")
_SHOWN = 5
_ANSWERED = ("coverage", "precision", "recall", "error")


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("eval", help="measure a checkpoint or an artefact")
    add_config(parser)
    parser.add_argument(
        "--artifact",
        "--artefact",
        metavar="FILE",
        help="an exported file or folder, or a model.cvt; the first word may then be its run",
    )
    parser.add_argument("--checkpoint", metavar="CKPT", help="overrides the config's checkpoint")
    parser.add_argument(
        "--split", metavar="NAME", help="val, test or train; overrides the config's eval_split"
    )
    parser.add_argument("--json", action="store_true", help="the exact figures as JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate and print every meter."""
    if args.artifact is not None:
        return _run_artifact(args)
    config, overrides = checked_config(args, "eval")

    from cvtrainer.jobs.evaluate import evaluate

    metrics = evaluate(config, checkpoint=args.checkpoint, overrides=overrides, split=args.split)
    if args.json:
        print(json.dumps(metrics))
        return 0
    print(table([(name, number(value)) for name, value in metrics.items()]))
    return 0


def _run_artifact(args: argparse.Namespace) -> int:
    """The artefact's figures, beside the trained model's where that is known."""
    from cvtrainer.jobs.evaluate_artifact import evaluate_artifact

    measured = evaluate_artifact(args.artifact, _whose(args), split=args.split)
    if args.json:
        print(json.dumps(asdict(measured), ensure_ascii=False))
        return 0
    head = ("metric", "artefact") if measured.trained is None else ("metric", "artefact", "trained")
    rows = [
        (name, number(value), *([number(measured.trained[name])] if measured.trained else []))
        for name, value in measured.metrics.items()
    ]
    print(table([head, *rows]))
    about = f"{measured.artefact} ({measured.target}, {measured.precision})"
    print(f"{about} on {measured.samples} samples of {measured.split}")
    if measured.agreement is not None:
        print(f"decided as the trained model: {measured.agreement:.2%}{_inside(measured)}")
    if measured.disagreeing:
        print(f"otherwise: {', '.join(measured.disagreeing[:_SHOWN])}")
    if measured.operating is not None:
        for line in _at_the_point(measured.operating, measured.split):
            print(line)
    return 0


def _inside(measured: Measured) -> str:
    """Where whole samples are decided otherwise for a few of their objects or places."""
    if measured.likeness == measured.agreement:
        return ""
    return f" of the samples, {measured.likeness:.2%} of the objects or places in them"


def _at_the_point(told: Mapping[str, Any], split: str) -> Iterator[str]:
    """What is answered; the table is of outputs, whatever is answered."""
    goal = told["goal"] or "one of your own"
    yield f"at its operating point ({goal}), which the table above leaves out:"
    yield f"  {', '.join(_figures(told['measured'], told['before']))}"
    calibration = told.get("calibration")
    if calibration is not None:
        now, was = number(calibration["error"]), number(calibration["error_before"])
        yield f"  calibration error {now} (without {was})"
    if told["found_here"]:
        yield f"  the point was found on {split} itself, so these figures flatter it"
    if told["cross_fitted"]:
        yield f"  cross-fitted, as it was exported: {', '.join(_figures(told['cross_fitted']))}"


def _figures(given: Mapping[str, Any], without: Mapping[str, Any] | None = None) -> Iterator[str]:
    for word in _ANSWERED:
        before = "" if without is None else f" (without {_figure(without[word])})"
        yield f"{word} {_figure(given[word])}{before}"


def _figure(value: float | None) -> str:
    return "unknown" if value is None else number(value)


def _whose(args: argparse.Namespace) -> Whose:
    """A run or checkpoint as the first word, a config by its ending or as an option."""
    from cvtrainer.jobs.evaluate_artifact import Whose

    words, overrides = sort_words(args.words)
    if len(words) > 1:
        raise UserError(f"{words[1]!r} is one word too many", where=args.parser.prog)
    first = Path(words[0]) if words else None
    config = Path(args.config) if args.config is not None else None
    if first is not None and config is None and first.suffix in _CONFIGS:
        first, config = None, first
    source = Path(args.checkpoint) if args.checkpoint is not None else first
    return Whose(source, config, overrides)
