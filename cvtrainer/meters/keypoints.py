"""Percentage of correct keypoints: those within a share of a reference length from their place."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.tally import TallyMeter


class PCKMeter(TallyMeter):
    """`threshold` is a share of `length`: by default the longer side of the points' extent.

    A sample with fewer than two points has no extent and does not count then. Points are
    `[N, K, 2]` or `[N, K, 3]`; a third value of the target says that a point is there.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("pck",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"pck": True}

    def __init__(self, threshold: float = 0.1, length: float | None = None) -> None:
        super().__init__()
        if threshold <= 0:
            raise UserError(f"PCKMeter: threshold is {threshold}; give more than 0")
        self.threshold = threshold
        self.length = length

    def update(self, output: Tensor, target: Tensor) -> None:
        made, wanted = output.detach(), target.detach()
        if made.ndim != 3 or wanted.ndim != 3 or made.shape[:2] != wanted.shape[:2]:
            raise UserError(
                f"PCKMeter: the output has the shape {list(made.shape)} and the target "
                f"{list(wanted.shape)}; give [N, K, 2] or [N, K, 3] each"
            )
        there = wanted[..., 2] > 0 if wanted.shape[-1] > 2 else wanted[..., 0].isfinite()
        places = wanted[..., :2].double()
        apart = (made[..., :2].double() - places).square().sum(dim=-1).sqrt()
        if self.length is None and wanted.shape[1] < 2:
            raise UserError(
                "PCKMeter: one point alone has no extent", todo="Give a length, in pixels."
            )
        lengths = self._lengths(places, there)
        there &= lengths > 0
        hits = there & (apart <= self.threshold * lengths)
        self.tally.add(hits=hits.sum(), points=there.sum())

    def compute(self) -> dict[str, float]:
        """Empty before the first point."""
        read = self.tally.numbers()
        return {"pck": read["hits"] / read["points"]} if read.get("points") else {}

    def _lengths(self, places: Tensor, there: Tensor) -> Tensor:
        if self.length is not None:
            return places.new_full((len(places), 1), self.length)
        absent = ~there.unsqueeze(-1)
        highest = places.masked_fill(absent, -float("inf")).amax(dim=1)
        lowest = places.masked_fill(absent, float("inf")).amin(dim=1)
        return (highest - lowest).amax(dim=-1, keepdim=True)
