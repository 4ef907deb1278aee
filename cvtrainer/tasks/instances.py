"""Objects in a picture, each with its mask: a box, a class, a score and the places it covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch.nn import functional

from cvtrainer.ops.masks import mixed_masks, stride_of, within
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.detection import Detection, rows_at
from cvtrainer.tasks.reading import arrays_of, head_part
from cvtrainer.telling import instances as telling

Form = Literal["runs", "polygons", "none"]


class Instances(Detection):
    """What `detection` finds, and `found_masks` `[N, K, H, W]` at the size of the input.

    The arguments are those of `detection`; `masks` says how a mask is told: as COCO's runs, as the
    polygons around it, or not at all.
    """

    IN_PICTURE: ClassVar[Mapping[str, str]] = telling.Instances.IN_PICTURE

    def __init__(
        self,
        threshold: float = 0.01,
        max_overlap: float = 0.6,
        most: int = 100,
        candidates: int = 300,
        told_from: float = 0.25,
        masks: Form = "runs",
    ) -> None:
        super().__init__(threshold, max_overlap, most, candidates, told_from)
        self.telling: telling.Instances = telling.Instances(
            threshold, max_overlap, most, candidates, told_from, masks
        )
        self.masks = masks

    def decode(self, outputs: Outputs) -> Outputs:
        found, places = self.found(outputs)
        coefficients = head_part(outputs, "coefficients", "instances").float()
        prototypes = head_part(outputs, "prototypes", "instances").float()
        height, width = head_part(outputs, "inside", "instances").shape[-2:]
        scores = mixed_masks(rows_at(coefficients, places), prototypes)
        stride = stride_of(width, scores.shape[-1])
        size = [scores.shape[-2] * stride, scores.shape[-1] * stride]
        large = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        masks = (large[..., :height, :width] > 0) & within(found["found_boxes"], height, width)
        return {**found, "found_masks": masks & (found["found_scores"] > 0)[..., None, None]}

    def shown(self, outputs: Outputs) -> Outputs:
        """Only the objects that are told, of a batch of one: masks of others are large nothings."""
        return self.telling.shown(outputs)

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Objects from the score `told_from` on, with the places each covers."""
        return self.telling.describe(arrays_of(outputs, place), 0, classes)
