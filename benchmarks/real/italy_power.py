"""ItalyPowerDemand: 24 hours of use, summer or winter. No bar, for information.

    python -m benchmarks.real.italy_power --data FOLDER [--seeds 0 1 2] [--peers real_sklearn]

The parts are the archive's own, 67 days to train and 1029 to test; a fifth of the former chooses
the checkpoint.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    "italy_power", "tables-series-text", (Goal("test/accuracy", 0.0),), peers=("real_sklearn",)
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
