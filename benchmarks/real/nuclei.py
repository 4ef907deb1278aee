"""Nuclei (Data Science Bowl 2018): each found with its mask, and so counted, from 52 pictures.

    python -m benchmarks.real.nuclei --data FOLDER [--seeds 0 1 2] [--epochs N]

The set has no lists of its own. Ours keep the share of fluorescence and stained pictures: 16 of 78
are test, 10 of the rest val, on which the best epoch is chosen. `union_dice` compares what all
found nuclei cover with what all right ones do; `count_error` is by how many nuclei a picture is off
on average. Nothing is pretrained.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    name="nuclei",
    folder="nuclei-dsb2018",
    goals=(Goal("test/union_dice", 0.85), Goal("test/count_error", 4.0, higher=False)),
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
