"""What says that threads may run it gives the same in many threads as in one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.transforms import Transforms

SHARED: list[Any] = [
    {"type": "Affine", "rotate": 20, "scale": 0.2},
    "RandAugment",
    "TrivialAugmentWide",
    {"type": "ColorJitter", "brightness": 0.3, "hue": 0.1},
    "Perspective",
    "ElasticTransform",
    {"type": "RandomErasing", "value": "noise"},
    {"type": "RandomResizedCrop", "size": [24, 32]},
    "HorizontalFlip",
]
LISTS: dict[str, list[Any]] = {
    "Albumentations": SHARED,
    "Torchvision": SHARED,
    "results": [
        {"type": "RandomFlip", "direction": ["horizontal", "diagonal"]},
        {"type": "Resize", "target_size": 40, "keep_ratio": True},
        {"type": "RandomColorJitter", "hue_p": 0.5, "clahe_p": 0.5, "blur_p": 0.5, "gamma_p": 0.5},
    ],
}


@pytest.mark.parametrize("backend", LISTS)
def test_threads_draw_what_one_process_draws(backend: str) -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    transforms = Transforms(backend, LISTS[backend])
    assert transforms.thread_safe

    def one(position: int) -> bytes:
        sample = {
            "x": image,
            "boxes": [[10.0, 10, 50, 40]],
            "box_labels": [1],
            "mask": (image[:, :, 0] > 99).astype(np.uint8),
            "keypoints": [[30.0, 20, 2]],
        }
        out = transforms(sample, DrawKey(4, 2, position))
        arrays = (out["x"], out["mask"], out["boxes"], out["keypoints"])
        return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)

    alone = [one(position) for position in range(40)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, reversed(range(40)))) == alone[::-1]
    assert len(set(alone)) > 30
