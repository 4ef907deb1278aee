"""What training with rounding is worth: apps/digits_qat in float, quantised after, and trained.

    python -m benchmarks.deploy.qat [--modelopt] [RUN]

Trains the recipe, unless RUN is a folder that it was trained in, and exports to ONNX: the float
stage by every calibrator and by the ladder, the rounded stage as it is. Printed is the accuracy of
each artefact, and how far it is from the network that it was made of. With `--modelopt` that one
rounds, for TensorRT, and there is no ladder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cvtrainer
from cvtrainer.jobs.export import Exported, Scheme, Wanted, export

CALIBRATORS = ("mse", "max", "percentile", "entropy")
CONFIG = Path(__file__).parents[2] / "apps" / "digits_qat" / "train.yaml"


def main(arguments: list[str]) -> None:
    arguments, tool = list(arguments), "torchao"
    if "--modelopt" in arguments:
        arguments.remove("--modelopt")
        tool = "modelopt"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(arguments[0]) if arguments else Path(folder) / "run"
        if not run.exists():
            asked = f"stages.rounded.quantise.quantizer={tool}"
            cvtrainer.train(CONFIG, overrides=[f"dir={run}", asked])
        rows = compared(run, Path(folder), tool)
    print(f"| {'network':<34} | network | artefact | decided alike |\n|---|---|---|---|")
    for name, one in rows:
        trained, made = one.proof.trained["accuracy"], one.proof.artefact["accuracy"]
        print(f"| {name:<34} | {trained:.4f}  | {made:.4f}   | {one.proof.agreement:.1%} |")


def compared(run: Path, out: Path, tool: str = "torchao") -> list[tuple[str, Exported]]:
    """Each artefact by what was done."""
    targets = ("onnx",) if tool == "torchao" else ("tensorrt",)
    floats = run / "checkpoints" / "float" / "best_model.pth"
    rounded = run / "checkpoints" / "rounded" / "best_model.pth"
    found = [("float", _made(floats, Wanted(targets=targets, out=out)))]
    for method in CALIBRATORS:
        wanted = Wanted(
            targets=targets,
            precisions=("int8",),
            out=out,
            scheme=Scheme(method=method, tool=tool),
            ladder=False,
            max_drop=1.0,
        )
        found.append((f"int8 after training, {method}", _made(floats, wanted)))
    wanted = Wanted(targets=targets, precisions=("int8",), out=out)
    if tool == "torchao":
        found.append(("the ladder's end", _made(floats, wanted)))
    return [*found, ("int8, trained", _made(rounded, wanted))]


def _made(checkpoint: Path, wanted: Wanted) -> Exported:
    return export(checkpoint, wanted, say=lambda text: print(text, file=sys.stderr))[0]


if __name__ == "__main__":
    main(sys.argv[1:])
