"""How well regions agree: by intersection over union, by Dice, and along their borders."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.meters.confusion import ConfusionMeter
from cvtrainer.meters.labels import beyond_classes, refuse_beyond, refuse_on_host
from cvtrainer.meters.tally import TallyMeter


class _RegionMeter(ConfusionMeter):
    """Counts places; one output channel means two classes, inside where the score is above 0."""

    def update(self, output: Tensor, target: Tensor) -> None:
        super().update(_two_classes(output), target)

    def _counting(self, matrix: Tensor) -> Tensor:
        """Which classes there are; one that is ignored is none, though it may be chosen."""
        classes = torch.arange(len(matrix), device=matrix.device)
        return classes != self.ignore_index


class MeanIoUMeter(_RegionMeter):
    """Mean over classes of intersection over union, and the share of places that are right."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("miou", "pixel_accuracy")
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"miou": True, "pixel_accuracy": True}
    _WHO: ClassVar[str] = "MeanIoUMeter"

    def compute(self) -> dict[str, float]:
        matrix = self._of_all()
        if matrix is None:
            return {}
        matrix = matrix.double()
        both = matrix.diagonal()
        either = matrix.sum(dim=0) + matrix.sum(dim=1) - both
        occurs = (either > 0) & self._counting(matrix)
        if not bool(occurs.any()):
            return {}
        return {
            "miou": float((both[occurs] / either[occurs]).mean()),
            "pixel_accuracy": float(both.sum() / matrix.sum()),
        }


class DiceMeter(_RegionMeter):
    """Mean Dice coefficient over the classes that occur, without the background unless asked."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("dice",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"dice": True}
    _WHO: ClassVar[str] = "DiceMeter"

    def __init__(self, background: bool = False, ignore_index: int = -100) -> None:
        super().__init__(ignore_index)
        self.background = background

    def compute(self) -> dict[str, float]:
        matrix = self._of_all()
        if matrix is None:
            return {}
        matrix = matrix.double()
        both, each = matrix.diagonal(), matrix.sum(dim=0) + matrix.sum(dim=1)
        occurs = (each > 0) & self._counting(matrix)
        if not self.background:
            both, each, occurs = both[1:], each[1:], occurs[1:]
        if not bool(occurs.any()):
            return {}
        return {"dice": float((2 * both[occurs] / each[occurs]).mean())}


class BoundaryFMeter(TallyMeter):
    """F of borders: those found and those right, within `tolerance` pixels, per class and picture.

    A class that is in neither picture nor output counts for nothing, one in only one of them as 0.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("boundary_f",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"boundary_f": True}

    def __init__(self, tolerance: int = 2, ignore_index: int = -100) -> None:
        super().__init__()
        if tolerance < 0:
            raise UserError(f"BoundaryFMeter: tolerance is {tolerance}; give 0 or more")
        self.tolerance = tolerance
        self.ignore_index = ignore_index
        self._classes = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Scores `[N, C, H, W]` and indices `[N, H, W]`."""
        scores = _two_classes(output.detach())
        if target.shape != scores.shape[:1] + scores.shape[2:]:
            raise UserError(
                f"BoundaryFMeter: the target has the shape {list(target.shape)} and the output "
                f"{list(output.shape)}; give class indices [N, H, W]"
            )
        classes = scores.shape[1]
        labels = target.long()
        counts = labels != self.ignore_index
        beyond = beyond_classes(labels, classes, counts).sum()
        refuse_on_host("BoundaryFMeter", beyond, classes, self.ignore_index)
        self._classes = classes
        inside_classes = labels.clamp(0, classes - 1).masked_fill(~counts, 0)
        right = functional.one_hot(inside_classes, classes).movedim(-1, 1)
        chosen = functional.one_hot(scores.argmax(dim=1), classes).movedim(-1, 1)
        inside = counts.unsqueeze(1)
        found, wanted = (_border((one > 0) & inside) for one in (chosen, right))
        near_wanted, near_found = (_grown(one, self.tolerance) for one in (wanted, found))
        hit, all_found = (found & near_wanted).sum((2, 3)), found.sum((2, 3))
        met, all_wanted = (wanted & near_found).sum((2, 3)), wanted.sum((2, 3))
        precision = hit / all_found.clamp(min=1)
        recall = met / all_wanted.clamp(min=1)
        value = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
        there = (all_found + all_wanted) > 0
        self.tally.add(value=(value * there).double().sum(), pictures=there.sum(), beyond=beyond)

    def compute(self) -> dict[str, float]:
        """Empty before the first border."""
        read = self.tally.numbers()
        beyond = int(read.get("beyond", 0))
        refuse_beyond("BoundaryFMeter", beyond, self._classes, self.ignore_index)
        return {"boundary_f": read["value"] / read["pictures"]} if read.get("pictures") else {}


def _two_classes(output: Tensor) -> Tensor:
    if output.ndim > 2 and output.shape[1] == 1:
        return torch.cat((torch.zeros_like(output), output), dim=1)
    return output


def _border(region: Tensor) -> Tensor:
    """Places of a region that have a neighbour (of four) outside of it; the frame is no border."""
    padded = functional.pad(region.float(), (1, 1, 1, 1), mode="replicate") > 0.5
    inner = (
        padded[..., :-2, 1:-1]
        & padded[..., 2:, 1:-1]
        & padded[..., 1:-1, :-2]
        & padded[..., 1:-1, 2:]
    )
    return region & ~inner


def _grown(border: Tensor, by: int) -> Tensor:
    if not by:
        return border
    return functional.max_pool2d(border.float(), 2 * by + 1, stride=1, padding=by) > 0.5
