"""The loss of an anchor-free detector: what is there, where its box is, how sure its edges are."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss.assignment import Assigned, assign
from cvtrainer.loss.overlap import BoxIoULoss, DistributionFocalLoss
from cvtrainer.ops.boxes import boxes_around, mean_distances, reversed_boxes, steps_to_edges


class DetectionLoss(nn.Module):
    """Takes a detection head's outputs and the padded boxes and labels of a batch.

    The parts count `classes`, `box` and `edges` times. All are per unit of assigned score, so that
    pictures with many objects and pictures with few weigh alike.
    """

    CLASS_NUMBERS: ClassVar[dict[str, str]] = {"box_labels": "scores"}
    BOX_CORNERS: ClassVar[tuple[str, ...]] = ("boxes",)

    def __init__(
        self, classes: float = 0.5, box: float = 7.5, edges: float = 1.5, count: int = 10
    ) -> None:
        super().__init__()
        if count < 1:
            raise UserError(f"DetectionLoss: count is {count}; give 1 or more")
        self.classes = classes
        self.box = box
        self.edges = edges
        self.count = count
        self._box_loss = BoxIoULoss("ciou", reduction="none")
        self._edge_loss = DistributionFocalLoss(reduction="none")

    def forward(
        self,
        scores: Tensor,
        distances: Tensor,
        anchors: Tensor,
        boxes: Tensor,
        box_labels: Tensor,
        boxes_padding: Tensor,
    ) -> dict[str, Tensor]:
        """Boxes `[N, M, 4]` in input pixels; padding is true where there is none."""
        wanted = self.wanted(scores, distances, anchors, boxes, box_labels, boxes_padding)
        return self.compared(scores, distances, anchors, wanted)

    def wanted(
        self,
        scores: Tensor,
        distances: Tensor,
        anchors: Tensor,
        boxes: Tensor,
        box_labels: Tensor,
        boxes_padding: Tensor,
    ) -> Assigned:
        """Which places answer for which box, as the outputs are now."""
        scores, distances, anchors = scores.float(), distances.float(), anchors.float()
        _refuse_unknown(box_labels, boxes_padding, scores.shape[-1])
        _refuse_reversed(boxes, boxes_padding)
        return assign(
            scores.detach().sigmoid(),
            boxes_around(anchors, mean_distances(distances.detach())),
            anchors,
            boxes.float(),
            box_labels.long(),
            ~boxes_padding,
            count=self.count,
        )

    def compared(
        self, scores: Tensor, distances: Tensor, anchors: Tensor, wanted: Assigned
    ) -> dict[str, Tensor]:
        """The losses of these outputs against what is wanted of them."""
        scores, distances, anchors = scores.float(), distances.float(), anchors.float()
        whole = wanted.scores.sum().clamp(min=1)
        kinds = functional.binary_cross_entropy_with_logits(scores, wanted.scores, reduction="none")
        # Edges are looked at where there is an object alone: that is a small part of all places.
        picture, place = wanted.answers.nonzero(as_tuple=True)
        strength = wanted.scores[picture, place].sum(dim=-1)
        theirs, around = wanted.boxes[picture, place], anchors[place]
        spread = distances[picture, place]
        overlap = self._box_loss(boxes_around(around, mean_distances(spread)), theirs)
        bins = distances.shape[-1] // 4
        steps = steps_to_edges(around, theirs).clamp(0, bins - 1.01)
        edge = self._edge_loss(spread.reshape(-1, 4, bins), steps).mean(dim=-1)
        overlap, edge = overlap * strength, edge * strength
        parts = {
            "classes": self.classes * kinds.sum() / whole,
            "box": self.box * overlap.sum() / whole,
            "edges": self.edges * edge.sum() / whole,
        }
        return {"loss": parts["classes"] + parts["box"] + parts["edges"], **parts}


def _refuse_unknown(labels: Tensor, padding: Tensor, classes: int) -> None:
    """On a host this costs nothing; what goes to a device has been looked at before."""
    if labels.device.type != "cpu" or not labels.numel():
        return
    lowest, highest = (int(end) for end in labels.masked_fill(padding, 0).aminmax())
    if lowest < 0 or highest >= classes:
        raise UserError(
            f"a box has the label {min(lowest, 0) or highest} and the model has {classes} classes",
            where="field box_labels",
            todo="Set the head's num_classes to the number of classes."
            if lowest >= 0
            else "Class numbers begin at 0; correct the label.",
        )


def _refuse_reversed(boxes: Tensor, padding: Tensor) -> None:
    """Boxes of another form would be learnt as nonsense; looked at on a host, as labels are."""
    if boxes.device.type != "cpu" or not boxes.numel():
        return
    wrong = reversed_boxes(boxes, padding).nonzero().tolist()
    if wrong:
        numbers = ", ".join(f"{number:g}" for number in boxes[tuple(wrong[0])].tolist())
        raise UserError(
            f"a box ends before it begins ({numbers})",
            where="field boxes",
            todo="Give boxes as x1, y1, x2, y2: the tensorizer box with format: xyxy.",
        )
