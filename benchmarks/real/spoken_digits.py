"""Spoken digits (300 recordings of three speakers): ten classes, from bands of pitch.

    python -m benchmarks.real.spoken_digits --data FOLDER [--seeds 0 1 2] [--epochs N]

The bar is for a random split, 64 : 16 : 20 within each class. After it, without a bar, a split in
which the speaker of the test part is heard in no other; then the voice is new, and 200 recordings
of two people are what there is to learn from.
"""

from __future__ import annotations

import sys

from benchmarks.real.frame import Goal, Study, main

STUDY = Study("spoken_digits", "spoken-digits-wav", (Goal("test/accuracy", 0.95),))
NEW_SPEAKER = Study("spoken_digits", "spoken-digits-wav", (Goal("test/accuracy", 0.0),))
NEW_SPEAKER_LISTS = "vars.lists=benchmarks/real/splits/spoken_digits_speakers"

if __name__ == "__main__":
    words = sys.argv[1:]
    code = main(STUDY, words)
    print("\nA speaker that training has not heard:")
    main(NEW_SPEAKER, [NEW_SPEAKER_LISTS, *words])
    sys.exit(code)
