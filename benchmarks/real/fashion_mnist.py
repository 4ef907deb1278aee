"""Fashion-MNIST: 55,000 of its training pictures to train, 5,000 to choose the checkpoint.

    OMP_NUM_THREADS=2 python -m benchmarks.real.fashion_mnist --data FOLDER

The test part is the official one. The rows of the training file that choose the checkpoint are
those of the config's `split`; splits/fashion_mnist_val.txt lists them for the peers.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    "fashion_mnist", "fashion-mnist", (Goal("test/accuracy", 0.93),), peers=("real_timm",)
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
