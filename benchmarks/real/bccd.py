"""Blood cells (BCCD): red and white cells and platelets, found by a detector of its own making.

    python -m benchmarks.real.bccd --data FOLDER [--seeds 0 1 2] [--epochs N]

The lists are the set's own: it is trained on train, its best epoch is chosen on val, and test is
scored once. Nothing is pretrained, here or in the peer.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    name="bccd",
    folder="bccd-voc",
    goals=(Goal("test/map_50", 0.75),),
    peers=("real_ultralytics",),
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
