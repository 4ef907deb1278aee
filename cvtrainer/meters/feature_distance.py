"""How much made pictures are like real ones, as sets: a distance between their features.

The features are those of a small network with fixed random weights. The value orders generators of
one kind of pictures; it is not FID, whose features are learnt from photographs, and is on no scale
that papers use.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.meters.tally import TallyMeter
from cvtrainer.ops.frechet import frechet_distance

_WIDTHS = (8, 16, 16)


class FeatureDistanceMeter(TallyMeter):
    """Fréchet's distance between features of all made and of all real pictures of an epoch.

    Three random convolutions that halve the picture, drawn from `seed`; of the first two the mean
    over all places is a feature, of the last one that of each quarter.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("feature_distance",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"feature_distance": False}

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self._layers: dict[int, list[Tensor]] = {}

    def update(self, made: Tensor, real: Tensor) -> None:
        """Pictures `[N, C, H, W]`; there may be more of one kind than of the other."""
        if made.ndim != 4 or made.shape[1:] != real.shape[1:]:
            raise UserError(
                f"FeatureDistanceMeter: made pictures are {list(made.shape)}, real ones "
                f"{list(real.shape)}; give [N, C, H, W] of one size"
            )
        for name, pictures in (("made", made), ("real", real)):
            features = self._features(pictures.detach().float()).double()
            self.tally.add(
                **{
                    f"{name}_count": torch.tensor(len(features), device=features.device),
                    f"{name}_sum": features.sum(dim=0),
                    f"{name}_products": features.T @ features,
                }
            )

    def compute(self) -> dict[str, float]:
        """Empty before the second picture of each kind."""
        counts = self.tally.numbers()
        if min(counts.get("made_count", 0), counts.get("real_count", 0)) < 2:
            return {}
        one, other = (self._spread(name, counts[f"{name}_count"]) for name in ("made", "real"))
        return {"feature_distance": float(frechet_distance(*one, *other))}

    def _spread(self, name: str, count: float) -> tuple[Tensor, Tensor]:
        mean = self.tally[f"{name}_sum"].cpu() / count
        products = self.tally[f"{name}_products"].cpu()
        return mean, (products - count * torch.outer(mean, mean)) / (count - 1)

    def _features(self, pictures: Tensor) -> Tensor:
        found = []
        for weight, places in zip(self._weights(pictures.shape[1]), (1, 1, 2), strict=True):
            pictures = functional.conv2d(pictures, weight.to(pictures), stride=2, padding=1).relu()
            found.append(functional.adaptive_avg_pool2d(pictures, places).flatten(1))
        return torch.cat(found, dim=1)

    def _weights(self, channels: int) -> list[Tensor]:
        if channels not in self._layers:
            drawn = torch.Generator().manual_seed(self.seed)
            self._layers[channels] = [
                torch.randn(after, before, 3, 3, generator=drawn) * (2 / (9 * before)) ** 0.5
                for before, after in zip((channels, *_WIDTHS), _WIDTHS, strict=False)
            ]
        return self._layers[channels]
