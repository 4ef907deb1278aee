"""Maps of features to one vector per image.

Global average pooling happens once, at the first part that needs vectors: the Linear adapter or
the head. Backbones and the other adapters leave maps as maps, so that parts which need places
(detection, segmentation) can stand in the same spot.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError


def pooled(features: Tensor) -> Tensor:
    """`[N, C, h, w]` or `[N, C]` as `[N, C]`."""
    if features.ndim == 2:
        return features
    if features.ndim == 4:
        return functional.adaptive_avg_pool2d(features, 1).flatten(1)
    raise UserError(
        f"features have the shape {list(features.shape)}; heads take maps [N, C, h, w] or "
        "vectors [N, C]"
    )
