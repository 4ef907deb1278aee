"""Sign language digits: 1,443 photos to train, 206 to choose the checkpoint, 413 to score it.

    python -m benchmarks.real.sign_digits --data FOLDER

The lists were made by `cvtrainer data split FOLDER/sign-language-digits/Dataset
--ratio train=0.7,val=0.1,test=0.2 --seed 0`, which keeps the share of each class.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study(
    "sign_digits", "sign-language-digits", (Goal("test/accuracy", 0.97),), peers=("real_timm",)
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
