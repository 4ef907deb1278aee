"""Objects in a picture, each with its mask: a box, a class, a score and the places it covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.ops.masks import mixed_masks, run_text, runs_of, stride_of, within
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.detection import Detection, rows_at
from cvtrainer.tasks.reading import output_named

Form = Literal["runs", "polygons", "none"]


class Instances(Detection):
    """What `detection` finds, and `found_masks` `[N, K, H, W]` at the size of the input.

    The arguments are those of `detection`; `masks` says how a mask is told: as COCO's runs, as the
    polygons around it, or not at all.
    """

    IN_PICTURE: ClassVar[Mapping[str, str]] = {"found_boxes": "boxes", "found_masks": "masks"}

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
        if masks not in get_args(Form):
            raise UserError(
                f"task instances: masks is {masks!r}; it can be {', '.join(get_args(Form))}"
            )
        self.masks = masks

    def decode(self, outputs: Outputs) -> Outputs:
        found, places = self.found(outputs)
        coefficients = output_named(outputs, "coefficients", "instances").float()
        prototypes = output_named(outputs, "prototypes", "instances").float()
        height, width = output_named(outputs, "inside", "instances").shape[-2:]
        scores = mixed_masks(rows_at(coefficients, places), prototypes)
        stride = stride_of(width, scores.shape[-1])
        size = [scores.shape[-2] * stride, scores.shape[-1] * stride]
        large = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        masks = (large[..., :height, :width] > 0) & within(found["found_boxes"], height, width)
        return {**found, "found_masks": masks & (found["found_scores"] > 0)[..., None, None]}

    def shown(self, outputs: Outputs) -> Outputs:
        """Only the objects that are told, of a batch of one: masks of others are large nothings."""
        scores = outputs["found_scores"][0]
        told = (scores > 0) & (scores >= self.told_from)
        return {
            name: value[:, told] if name.startswith("found_") else value
            for name, value in outputs.items()
        }

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Objects from the score `told_from` on, with the places each covers."""
        told = super().describe(outputs, place, classes)
        for one, mask in zip(told["objects"], outputs["found_masks"][place], strict=False):
            one["area"] = int(mask.sum())
            if self.masks == "runs":
                one["mask"] = {"size": list(mask.shape), "counts": run_text(runs_of(mask))}
            elif self.masks == "polygons":
                one["polygons"] = polygons_of(mask)
        return told


def polygons_of(mask: Tensor) -> list[list[float]]:
    """Each outer border of a mask `[H, W]` as x1, y1, x2, y2 ..., a quarter of a place inside."""
    grown = np.kron(mask.to(torch.uint8).cpu().numpy(), np.ones((2, 2), dtype=np.uint8))
    borders, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((one.reshape(-1) + 0.5) / 2).tolist() for one in borders if len(one) > 2]
