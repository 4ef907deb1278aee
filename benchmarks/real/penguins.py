"""Penguins: three species by four measures, island and sex, some of them missing.

    python -m benchmarks.real.penguins --data FOLDER [--seeds 0 1 2] [--peers real_sklearn]

The parts are 64 : 16 : 20 within each species, as lists of row numbers.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    "penguins", "tables-series-text", (Goal("test/accuracy", 0.97),), peers=("real_sklearn",)
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
