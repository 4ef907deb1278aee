"""Mean average precision of masks, as COCO counts it, through faster-coco-eval.

Masks are kept as COCO's runs, a few dozen bytes each: what is found and what is right is gathered
as boxes are, with the text of its mask beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.coco import Entry, evaluated
from cvtrainer.protocols import State
from cvtrainer.telling.runs import run_text, runs_of

_FIELDS = ("found", "right")
_COLUMNS = 7
"""Of a row: picture, class, score, area, height and width of the mask, length of its text."""


class MaskMAPMeter:
    """`mask_map` over overlaps of 0.5 to 0.95, `mask_map_50`, `mask_map_75`, and by size."""

    PRODUCES: ClassVar[tuple[str, ...]] = (
        "mask_map",
        "mask_map_50",
        "mask_map_75",
        "mask_map_small",
        "mask_map_medium",
        "mask_map_large",
    )
    PHASES: ClassVar[tuple[str, ...]] = ("val", "test")
    """Masks are only read from outputs in evaluation."""
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {
        "mask_map": True,
        "mask_map_50": True,
        "mask_map_75": True,
        "mask_map_small": True,
        "mask_map_medium": True,
        "mask_map_large": True,
    }

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._rows: dict[str, list[Tensor]] = {name: [] for name in _FIELDS}
        self._texts: dict[str, list[Tensor]] = {name: [] for name in _FIELDS}
        self._pictures = 0

    def update(
        self,
        found_masks: Tensor,
        found_scores: Tensor,
        found_classes: Tensor,
        masks: Tensor,
        box_labels: Tensor,
        boxes_padding: Tensor,
    ) -> None:
        """Masks `[N, K, H, W]` found (a score of 0 is none), `[N, M, H, W]` right (but padding)."""
        if found_masks.shape[-2:] != masks.shape[-2:] or masks.shape[:2] != boxes_padding.shape:
            raise UserError(
                f"meters.mask_map: found masks have the shape {list(found_masks.shape)}, right "
                f"ones {list(masks.shape)} and boxes {list(boxes_padding.shape)}",
                todo="Give one mask per box, as large as the input.",
            )
        self._add("found", found_scores > 0, found_masks, found_classes, found_scores)
        self._add("right", ~boxes_padding, masks, box_labels, torch.ones_like(box_labels).float())
        self._pictures += len(masks)

    def compute(self) -> dict[str, float]:
        """Empty before the first object; -1 of COCO (nothing of that size) is left out."""
        found, right = (self._entries(name) for name in _FIELDS)
        if not right:
            return {}
        sizes = [one["segmentation"]["size"] for one in right]
        size = (max(one[0] for one in sizes), max(one[1] for one in sizes))
        stats = evaluated(found, right, self._pictures, "segm", size)[: len(self.PRODUCES)]
        values = zip(self.PRODUCES, stats, strict=True)
        return {name: float(value) for name, value in values if value >= 0}

    def merge(self, states: Sequence[State]) -> None:
        """Become all pictures of these states."""
        self.reset()
        for state in states:
            for name in _FIELDS:
                rows = state[name].clone()
                rows[:, 0] += self._pictures
                self._rows[name].append(rows)
                self._texts[name].append(state[f"{name}_texts"])
            self._pictures += int(state["pictures"])

    def state_dict(self) -> State:
        rows = {name: self._joined(name) for name in _FIELDS}
        texts = {
            f"{name}_texts": torch.cat([torch.zeros(0, dtype=torch.uint8), *self._texts[name]])
            for name in _FIELDS
        }
        return {**rows, **texts, "pictures": self._pictures}

    def load_state_dict(self, state: State) -> None:
        self.merge([state])

    def _add(self, name: str, there: Tensor, masks: Tensor, kinds: Tensor, scores: Tensor) -> None:
        picture, place = there.nonzero(as_tuple=True)
        height, width = masks.shape[-2:]
        texts = [run_text(runs_of(mask)).encode() for mask in masks[picture, place].cpu().numpy()]
        self._texts[name].append(torch.tensor(list(b"".join(texts)), dtype=torch.uint8))
        columns = (
            picture + self._pictures,
            kinds[picture, place],
            scores[picture, place],
            masks[picture, place].ne(0).sum((1, 2)),
            torch.full_like(picture, height),
            torch.full_like(picture, width),
            torch.tensor([len(text) for text in texts], device=picture.device),
        )
        self._rows[name].append(torch.stack([one.double().cpu() for one in columns], dim=1))

    def _joined(self, name: str) -> Tensor:
        return torch.cat([torch.zeros(0, _COLUMNS, dtype=torch.float64), *self._rows[name]])

    def _entries(self, name: str) -> list[Entry]:
        text = torch.cat([torch.zeros(0, dtype=torch.uint8), *self._texts[name]]).numpy().tobytes()
        entries: list[dict[str, Any]] = []
        start = 0
        for picture, kind, score, area, height, width, length in self._joined(name).tolist():
            end = start + int(length)
            size = [int(height), int(width)]
            entries.append(
                {
                    "image_id": int(picture),
                    "category_id": int(kind),
                    "score": score,
                    "segmentation": {"size": size, "counts": text[start:end].decode()},
                    "area": area,
                }
            )
            start = end
        return entries
