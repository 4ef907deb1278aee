"""What training with rounding is worth: apps/digits_qat in float, quantised after, and trained.

    python -m benchmarks.deploy.qat [RUN]

Trains the recipe, unless RUN is a folder that it was trained in, and exports to ONNX: the float
stage by every calibrator and by the ladder, the rounded stage as it is. Printed is the accuracy of
each artefact, and how far it is from the network that it was made of.
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
    with tempfile.TemporaryDirectory() as folder:
        run = Path(arguments[0]) if arguments else Path(folder) / "run"
        if not run.exists():
            cvtrainer.train(CONFIG, overrides=[f"dir={run}"])
        rows = compared(run, Path(folder))
    print(f"| {'network':<34} | network | artefact | decided alike |\n|---|---|---|---|")
    for name, one in rows:
        trained, made = one.proof.trained["accuracy"], one.proof.artefact["accuracy"]
        print(f"| {name:<34} | {trained:.4f}  | {made:.4f}   | {one.proof.agreement:.1%} |")


def compared(run: Path, out: Path) -> list[tuple[str, Exported]]:
    """Each artefact by what was done."""
    floats = run / "checkpoints" / "float" / "best_model.pth"
    rounded = run / "checkpoints" / "rounded" / "best_model.pth"
    found = [("float", _made(floats, Wanted(out=out)))]
    for method in CALIBRATORS:
        wanted = Wanted(
            precisions=("int8",), out=out, scheme=Scheme(method=method), ladder=False, max_drop=1.0
        )
        found.append((f"int8 after training, {method}", _made(floats, wanted)))
    found.append(("the ladder's end", _made(floats, Wanted(precisions=("int8",), out=out))))
    found.append(("int8, trained", _made(rounded, Wanted(precisions=("int8",), out=out))))
    return found


def _made(checkpoint: Path, wanted: Wanted) -> Exported:
    return export(checkpoint, wanted, say=lambda text: print(text, file=sys.stderr))[0]


if __name__ == "__main__":
    main(sys.argv[1:])
