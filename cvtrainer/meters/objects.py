"""Numbers about the found objects of a picture: how many they are, what they cover together."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.tally import TallyMeter


class CountErrorMeter(TallyMeter):
    """By how many objects the pictures are off, on average; found is what scores `told_from`."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("count_error",)
    PHASES: ClassVar[tuple[str, ...]] = ("val", "test")
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"count_error": False}

    def __init__(self, told_from: float = 0.25) -> None:
        super().__init__()
        self.told_from = _share("CountErrorMeter", told_from)

    def update(self, found_scores: Tensor, boxes_padding: Tensor) -> None:
        """Scores `[N, K]` of what was found, and where `[N, M]` no object is."""
        found = (found_scores > 0) & (found_scores >= self.told_from)
        off = (found.sum(dim=1) - (~boxes_padding).sum(dim=1)).abs()
        self.tally.add(off=off.double().sum(), pictures=off.new_tensor(len(off)))

    def compute(self) -> dict[str, float]:
        """Empty before the first picture."""
        read = self.tally.numbers()
        return {"count_error": read["off"] / read["pictures"]} if read.get("pictures") else {}


class UnionDiceMeter(TallyMeter):
    """Dice of what all found objects cover against what all right ones do, over all pictures."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("union_dice",)
    PHASES: ClassVar[tuple[str, ...]] = ("val", "test")
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"union_dice": True}

    def __init__(self, told_from: float = 0.25) -> None:
        super().__init__()
        self.told_from = _share("UnionDiceMeter", told_from)

    def update(
        self, found_masks: Tensor, found_scores: Tensor, masks: Tensor, boxes_padding: Tensor
    ) -> None:
        """Masks `[N, K, H, W]` found and `[N, M, H, W]` right."""
        told = (found_scores > 0) & (found_scores >= self.told_from)
        found = (found_masks.ne(0) & told[..., None, None]).any(dim=1)
        right = (masks.ne(0) & ~boxes_padding[..., None, None]).any(dim=1)
        self.tally.add(both=(found & right).sum(), each=found.sum() + right.sum())

    def compute(self) -> dict[str, float]:
        """Empty where no picture has anything."""
        read = self.tally.numbers()
        return {"union_dice": 2 * read["both"] / read["each"]} if read.get("each") else {}


def _share(who: str, told_from: float) -> float:
    if not 0 <= told_from <= 1:
        raise UserError(f"{who}: told_from is {told_from}; give 0 to 1")
    return told_from
