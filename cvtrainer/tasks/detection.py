"""Objects in a picture: a box, a class and a score each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from cvtrainer.ops.boxes import boxes_around, kept_boxes, mean_distances
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import arrays_of, head_part
from cvtrainer.telling import detection as telling


class Detection:
    """`found_boxes` `[N, K, 4]`, `found_scores` and `found_classes` `[N, K]`, best first.

    K is `most`; where there are fewer objects the score is 0. What is below `threshold`, or
    overlaps a better box of its class by more than `max_overlap`, is none.
    """

    IN_PICTURE: ClassVar[Mapping[str, str]] = telling.Detection.IN_PICTURE

    def __init__(
        self,
        threshold: float = 0.01,
        max_overlap: float = 0.6,
        most: int = 100,
        candidates: int = 300,
        told_from: float = 0.25,
    ) -> None:
        self.telling = telling.Detection(threshold, max_overlap, most, candidates, told_from)
        self.threshold = threshold
        self.max_overlap = max_overlap
        self.most = most
        self.candidates = candidates
        self.told_from = told_from

    def decode(self, outputs: Outputs) -> Outputs:
        return self.found(outputs)[0]

    def found(self, outputs: Outputs) -> tuple[Outputs, Tensor]:
        """What decoding adds, and the places `[N, K]` of the head that found it."""
        scores = head_part(outputs, "scores", "detection").float().sigmoid()
        anchors = head_part(outputs, "anchors", "detection")
        distances = head_part(outputs, "distances", "detection").float()
        places, classes = scores.shape[1:]
        best, chosen = scores.flatten(1).topk(min(self.candidates, places * classes))
        place, kind = chosen // classes, chosen % classes
        steps = mean_distances(rows_at(distances, place))
        boxes = boxes_around(anchors[place.reshape(-1)], steps.reshape(-1, 4))
        boxes = boxes.reshape(*place.shape, 4)
        kept = kept_boxes(boxes, kind, self.max_overlap) & (best >= self.threshold)
        first, order = (best * kept).topk(min(self.most, best.shape[1]))
        return {
            "found_boxes": rows_at(boxes, order),
            "found_scores": first,
            "found_classes": kind.gather(1, order),
        }, place.gather(1, order)

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Objects from the score `told_from` on."""
        return self.telling.describe(arrays_of(outputs, place), 0, classes)


def rows_at(rows: Tensor, places: Tensor) -> Tensor:
    """Rows `[N, A, D]` at places `[N, K]`."""
    return rows.gather(1, places.unsqueeze(-1).expand(*places.shape, rows.shape[-1]))
