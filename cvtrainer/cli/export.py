"""`cvtrainer export`: a trained model as the file that a device runs, compared before it is given.

Exit codes: 0 every artefact is proven, 1 one is not, 2 the call is wrong, 3 none failed, and one
could only be converted here, not run.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import number, table
from cvtrainer.core.errors import UserError

if TYPE_CHECKING:
    from cvtrainer.jobs.export.proof import Proof

_NOT_RUN = 3
"""Nothing speaks against an artefact, and nothing has run it."""


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    parser = subparsers.add_parser("export", help="make and prove the file that a device runs")
    parser.add_argument("source", metavar="RUN", help="a run folder or a checkpoint")
    parser.add_argument(
        "--target", default="onnx", metavar="NAMES", help="one or several, such as onnx,ncnn"
    )
    parser.add_argument(
        "--precision", metavar="NAMES", help="fp32 (the default), int8 or both: fp32,int8"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="short for --precision fp32,int8; targets without int8 give what they have",
    )
    parser.add_argument(
        "--calibrator", default="mse", metavar="NAME", help="of int8: mse, max, percentile, entropy"
    )
    parser.add_argument(
        "--quantizer", default="torchao", metavar="NAME", help="of tensorrt also: modelopt"
    )
    parser.add_argument(
        "--sample", type=int, default=256, metavar="N", help="training samples to calibrate on"
    )
    parser.add_argument(
        "--input",
        default="float",
        metavar="KIND",
        help="what the graph takes: float (prepared numbers), uint8 (bytes of its size) or picture "
        "(bytes of any size); only float where the input is no pictures",
    )
    parser.add_argument(
        "--decode",
        default="graph",
        metavar="WHERE",
        help="where outputs are read (softmax, arg-max, boxes): in the graph, or on the host",
    )
    parser.add_argument(
        "--top", type=int, metavar="K", help="the graph also gives the K best classes"
    )
    parser.add_argument("--config", metavar="FILE", help="the model of a checkpoint without a run")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="instead of the run's folder artifacts"
    )
    parser.add_argument(
        "--package",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="FILE",
        help="also one file with everything; model.cvt beside the artefacts by default",
    )
    _add_limits(parser)
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """What it must come up to, and what is tried where it does not."""
    parser.add_argument(
        "--max_drop",
        metavar="X",
        help="how much worse metrics may be: 0.01, or map_50=0.02,miou=0.01 (by metric, see docs)",
    )
    parser.add_argument(
        "--operate",
        metavar="GOAL",
        help="how sure it must be to answer: precision=0.95, recall=0.9, error=0.02, coverage=0.9, "
        "or calibrated",
    )
    parser.add_argument(
        "--ladder",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="where int8 misses that, try other ways to quantise (on)",
    )
    parser.add_argument(
        "--qat",
        type=int,
        default=0,
        metavar="N",
        help="one of these ways: train so many epochs with rounding, before operators become float",
    )


def run(args: argparse.Namespace) -> int:
    """Export and say how each artefact was proven."""
    # torch remarks on torchao while that is imported, which is no business of who exports
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    from cvtrainer.jobs.export import Form, Scheme, Wanted, drop_of, export

    wanted = Wanted(
        _names(args.target),
        _precisions(args),
        args.out,
        None if args.max_drop is None else drop_of(args.max_drop),
        args.config,
        Scheme(method=args.calibrator, tool=args.quantizer),
        args.sample,
        args.package,
        where_there=args.int8,
        ladder=args.ladder,
        qat=args.qat,
        operate=args.operate,
        form=Form(args.input, args.decode, args.top),
    )
    done = export(args.source, wanted, say=lambda text: print(text, file=sys.stderr))
    rows = []
    for one in done:
        size = f"{one.size / 1024:.0f} KiB"
        for name, value in one.proof.trained.items():
            made = number(one.proof.artefact[name])
            limit = number(one.may_drop[name]) if name in one.may_drop else "told"
            rows.append((one.target, one.precision, size, name, number(value), made, limit))
    head = ("target", "precision", "size", "metric", "trained", "artefact", "may drop")
    print(table([head, *rows]))
    for one in done:
        if one.proven:
            print(f"proven on {_samples(one.proof)}: {one.path.as_posix()}")
        elif one.sound:
            form = ", ".join(f"{word}: {value}" for word, value in (one.checked or {}).items())
            print(f"converted, not run here: {one.path.as_posix()} ({form})")
        if one.optimised is not None:
            print(_unasked(one.path.name, one.optimised, one.may_drop))
        if one.operating is not None:
            for line in _operating(one.path.name, one.operating):
                print(line)
        if one.differing is not None:
            print(f"decided otherwise, to be looked at: {one.differing.as_posix()}")
        for failure in one.failures:
            print(f"not proven, {one.path.as_posix()}: {failure}", file=sys.stderr)
    for package in dict.fromkeys(one.package for one in done if one.package):
        print(f"wrote {package.as_posix()}")
    without = [one.path.name for one in done if not one.package]
    if args.package is not None and without:
        print(f"in no package, being not proven: {', '.join(without)}", file=sys.stderr)
    if not all(one.sound for one in done):
        return 1
    return 0 if all(one.proven for one in done) else _NOT_RUN


def _samples(proof: Proof) -> str:
    part = "" if proof.whole is None else f" of {proof.whole}"
    told = f"{proof.samples}{part} samples, {proof.source}"
    if proof.stand_ins:
        told += f" ({proof.stand_ins} in the place of others that could not be read)"
    return told


def _unasked(name: str, proof: Proof, may_drop: Mapping[str, float]) -> str:
    """What the file gives where it is opened without `cvtrainer`."""
    figures = [f"{metric} {number(proof.artefact[metric])}" for metric in may_drop]
    alike = round(proof.agreement * proof.samples)
    told = (
        f"{name} with its runtime's own optimisations: "
        f"{', '.join([*figures, f'{alike} of {proof.samples} decided as by the trained model'])}"
    )
    if any(not proof.worse[metric] <= limit for metric, limit in may_drop.items()):
        told += "; that is more than it may drop, so open it with basic optimisations"
    return told


def _precisions(args: argparse.Namespace) -> list[str]:
    if not args.int8:
        return ["fp32"] if args.precision is None else _names(args.precision)
    if args.precision is not None:
        raise UserError(
            "--int8 says already which precisions",
            where=f"--precision {args.precision}",
            todo="Leave one of them out.",
        )
    return ["fp32", "int8"]


def _operating(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    """What an operating point is worth, on samples that it was not found on."""
    after, before = told["measured"], told["before"]
    yield f"operating point of {name}, {told['goal']}, cross-fitted on {told['samples']} samples:"
    words = ("coverage", "precision", "recall", "error")
    figures = [f"{word} {_figure(after[word])} (was {_figure(before[word])})" for word in words]
    calibration = told.get("calibration")
    if calibration is not None:
        now, was = calibration["error"], calibration["error_before"]
        figures.append(f"calibration error {number(now)} (was {number(was)})")
    yield "  " + ", ".join(figures)
    for note in told["notes"]:
        yield f"  {note}"


def _figure(value: float | None) -> str:
    return "unknown" if value is None else number(value)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
