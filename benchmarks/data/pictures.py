"""A folder of generated JPEG files, the same each time, for benchmarks of reading."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def picture_folder(folder: Path, count: int, *, width: int = 500, height: int = 375) -> Path:
    """Two classes of soft shapes with noise on top, about as hard to decode as photographs."""
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:06}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder
