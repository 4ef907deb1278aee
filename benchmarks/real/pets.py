"""Pets (Oxford-IIIT, three breeds): which pixels are the animal, learnt from 120 pictures.

    python -m benchmarks.real.pets --data FOLDER [--seeds 0 1 2] [--epochs N] [--way ignored]

Two ways, one after another: `ignored`, as the set's description says, leaves out the border that
its annotators drew around each animal; `border` makes it a third class. The test list is the set's
own; a fifth of each breed of its trainval list is val, on which the best epoch is chosen. Scores
are counted at 128 x 128. Nothing is pretrained, here or in the peer.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.real.frame import Goal, Study, main

GOALS = (Goal("test/miou", 0.60),)
STUDIES = {
    "ignored": Study("pets", "pets-trimap", GOALS, peers=("real_smp",)),
    "border": Study("pets_border", "pets-trimap", GOALS, peers=("real_smp",)),
}


def both() -> int:
    """Run the ways asked for; 1 where one of them misses its bar."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--way", choices=STUDIES, action="append")
    given, rest = parser.parse_known_args()
    return max(main(STUDIES[way], rest) for way in given.way or STUDIES)


if __name__ == "__main__":
    sys.exit(both())
