"""How long each calibrator takes for a small CNN: ranges of all its tensors from 256 pictures.

    python -m benchmarks.deploy.calibrators [--pictures 256] [--side 32]

The histograms are gathered once; what is timed first is that, then each calibrator with them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from benchmarks.near_empty import table
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.quantize.calibrators import CALIBRATORS
from cvtrainer.deploy.quantize.measured import Measured
from cvtrainer.deploy.quantize.ptq import rounded
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.models.backbones import EdgeNet


def main() -> None:
    """Print CPU seconds."""
    parser = argparse.ArgumentParser(description="CPU seconds of each calibrator.")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--side", type=int, default=32)
    given = parser.parse_args()
    torch.manual_seed(0)
    network = EdgeNet(width=0.5).eval()
    example = torch.rand(2, 3, given.side, given.side)

    def compute(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"output": network(x)[-1]}

    program = captured(Deployable(network, compute, ("output",)), example)
    sample = torch.rand(given.pictures, *example.shape[1:]).split(16)
    measured = Measured()
    rows = [["gathering, and max", _seconds(program, sample, "max", measured)]]
    rows += [[name, _seconds(program, sample, name, measured)] for name in CALIBRATORS]
    print(table(["calibrator", "CPU s"], rows))


def _seconds(
    program: Program, sample: Sequence[torch.Tensor], method: str, measured: Measured
) -> str:
    """Of a rounded graph whose ranges are all known."""
    before = time.process_time()
    with rounded(program, sample, Scheme(method=method), measured).running():
        return f"{time.process_time() - before:.1f}"


if __name__ == "__main__":
    main()
