"""Mean average precision of boxes, as COCO counts it, through faster-coco-eval.

Found and right boxes are kept on the host until they are read; what counts is put together when
the epoch is over, in whatever order samples came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import State

Entry = dict[str, Any]

_FIELDS = ("found", "right")
_AREAS = ((0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""What COCO calls small, medium and large."""


class BoxMAPMeter:
    """`map` over overlaps of 0.5 to 0.95, `map_50`, `map_75`; small, medium and large by size."""

    PRODUCES: ClassVar[tuple[str, ...]] = (
        "map",
        "map_50",
        "map_75",
        "map_small",
        "map_medium",
        "map_large",
        "recall_100",
    )
    PHASES: ClassVar[tuple[str, ...]] = ("val", "test")
    """Boxes are only read from outputs in evaluation."""
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {
        "map": True,
        "map_50": True,
        "map_75": True,
        "map_small": True,
        "map_medium": True,
        "map_large": True,
        "recall_100": True,
    }

    def __init__(self) -> None:
        self._rows: dict[str, list[Tensor]] = {name: [] for name in _FIELDS}
        self._pictures = 0

    def update(
        self,
        found_boxes: Tensor,
        found_scores: Tensor,
        found_classes: Tensor,
        boxes: Tensor,
        box_labels: Tensor,
        boxes_padding: Tensor,
    ) -> None:
        """Boxes `[N, K, 4]` found (a score of 0 is none) and `[N, M, 4]` right (but padding)."""
        self._add("found", found_scores > 0, found_boxes, found_classes, found_scores)
        self._add("right", ~boxes_padding, boxes, box_labels, torch.ones_like(boxes[..., 0]))
        self._pictures += len(boxes)

    def compute(self) -> dict[str, float]:
        """Empty before the first picture; -1 of COCO (nothing of that size) is left out."""
        found, right = ([_entry(row) for row in self._joined(one).tolist()] for one in _FIELDS)
        if not self._pictures or not right:
            return {}
        stats = evaluated(found, right, self._pictures)
        names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
        values = {**dict(zip(names, stats[:6], strict=True)), "recall_100": stats[8]}
        return {name: float(value) for name, value in values.items() if value >= 0}

    def reset(self) -> None:
        self._rows = {name: [] for name in _FIELDS}
        self._pictures = 0

    def merge(self, states: Sequence[State]) -> None:
        """Become all pictures of these states."""
        self.reset()
        for state in states:
            for name in _FIELDS:
                rows = state[name].clone()
                rows[:, 0] += self._pictures
                self._rows[name].append(rows)
            self._pictures += int(state["pictures"])

    def state_dict(self) -> State:
        return {**{name: self._joined(name) for name in _FIELDS}, "pictures": self._pictures}

    def load_state_dict(self, state: State) -> None:
        self.merge([state])

    def _add(self, name: str, there: Tensor, boxes: Tensor, kinds: Tensor, scores: Tensor) -> None:
        """Rows of picture, class, score and box."""
        picture, place = there.nonzero(as_tuple=True)
        columns = (
            picture.double() + self._pictures,
            kinds[picture, place].double(),
            scores[picture, place].double(),
        )
        rows = torch.cat((torch.stack(columns, dim=1), boxes[picture, place].double()), dim=1)
        self._rows[name].append(rows.cpu())

    def _joined(self, name: str) -> Tensor:
        rows = self._rows[name]
        return torch.cat(rows) if rows else torch.zeros(0, 7, dtype=torch.float64)


def evaluated(
    found: Sequence[Entry],
    right: Sequence[Entry],
    pictures: int,
    kind: str = "bbox",
    size: tuple[int, int] = (0, 0),
) -> Any:
    """COCO's twelve numbers about what was found; `kind` is bbox, or segm in pictures of a size."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise UserError(
            "meters: the package faster-coco-eval is not installed",
            todo="pip install 'cvtrainer[coco]'.",
        ) from error
    if not found:
        return _nothing_found(right)
    kinds = sorted({entry["category_id"] for entry in (*found, *right)})
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": number, "height": size[0], "width": size[1]} for number in range(pictures)
        ],
        "categories": [{"id": kind, "name": str(kind)} for kind in kinds],
        "annotations": [
            {**entry, "id": place, "iscrowd": 0} for place, entry in enumerate(right, start=1)
        ],
    }
    truth.createIndex()
    evaluation = COCOeval_faster(truth, truth.loadRes(found), kind, print_function=_nowhere)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def _nothing_found(right: Sequence[Entry]) -> list[float]:
    """Zero, but -1 for sizes that nothing right has, as COCO says it."""
    sizes = [
        0.0 if any(low <= entry["area"] <= high for entry in right) else -1.0
        for low, high in _AREAS
    ]
    return [0.0, 0.0, 0.0, *sizes, 0.0, 0.0, 0.0, *sizes]


def _entry(row: Sequence[float]) -> Entry:
    picture, kind, score, left, top, right, bottom = row
    width, height = right - left, bottom - top
    return {
        "image_id": int(picture),
        "category_id": int(kind),
        "score": score,
        "bbox": [left, top, width, height],
        "area": width * height,
    }


def _nowhere(*words: object, **options: object) -> None:
    """What the library would print."""
