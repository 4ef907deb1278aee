"""Pictures moved within their frame on the device; what leaves it is lost, the rest is filled."""

from __future__ import annotations

import torch
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.data.device_steps.device_step import Batch, check_draws, on_device, pictures
from cvtrainer.data.device_steps.draws import Draws

_WITH_PLACES = ("boxes", "mask", "masks", "keypoints")


class RandomShift:
    """Up to `pixels` whole pixels along each axis, each picture its own way; `fill` elsewhere.

    Pictures alone are moved: a batch with boxes, masks or keypoints is refused.
    """

    def __init__(self, pixels: int = 2, *, fill: float = 0.0, field: str = "x") -> None:
        if pixels < 1:
            raise UserError(f"RandomShift: pixels is {pixels}", todo="Give 1 or more.")
        self.pixels = pixels
        self.fill = fill
        self.field = field

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        shown = pictures(batch, self.field, "RandomShift")
        check_draws(draws, len(shown), "RandomShift")
        target = batch.get("target")
        for name in _WITH_PLACES:
            if name in batch or (isinstance(target, dict) and name in target):
                raise UserError(
                    f"RandomShift moves pictures alone, and the batch has {name}",
                    where="device_steps",
                    todo="Use the transform Affine with translate_percent.",
                )
        count, _, height, width = shown.shape
        most = self.pixels
        starts = on_device(draws.uniform(2, high=2 * most + 1).astype("int64"), shown)
        rows = starts[:, :1] + torch.arange(height, device=shown.device)
        columns = starts[:, 1:] + torch.arange(width, device=shown.device)
        wider = functional.pad(shown, (most, most, most, most), value=self.fill)
        every = torch.arange(count, device=shown.device)[:, None, None]
        moved = wider.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]]
        return {**batch, self.field: moved.permute(0, 3, 1, 2)}
