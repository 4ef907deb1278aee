"""Film reviews (rt-polarity): one sentence each, for or against. No bar, for information.

    python -m benchmarks.real.rt_polarity --data FOLDER [--seeds 0 1 2] [--peers real_sklearn]

The parts are 64 : 16 : 20 within each class; words are learnt from the training part alone, and
nothing is pretrained.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    "rt_polarity", "tables-series-text", (Goal("test/accuracy", 0.0),), peers=("real_sklearn",)
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
