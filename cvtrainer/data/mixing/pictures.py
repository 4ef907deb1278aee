"""MixUp and CutMix: two pictures in one, labels shared by what is seen of each.

They work on tensors. Every sample of a batch leaves in the same form, so one that is not mixed
(its partner is itself) has its class number turned into a vector too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.mixing.labels import picture_name, shared_label, with_fields
from cvtrainer.data.sample import Sample, sample_name
from cvtrainer.data.transforms.arguments import chance

Rectangle = tuple[int, int, int, int]


class MixUp:
    """The average of two pictures, `share` of the first from Beta(alpha, alpha).

    Pixels of 0..255 become floats of the same scale, so that a device step can normalise them.
    """

    place: ClassVar[Literal["tensors"]] = "tensors"
    thread_safe: ClassVar[bool] = True

    def __init__(
        self, *, alpha: float = 1.0, p: float = 1.0, num_classes: int | None = None
    ) -> None:
        self.alpha = _positive("MixUp", alpha)
        self.p = chance("MixUp", p)
        self.num_classes = num_classes

    def partners(self, rng: np.random.Generator, own: int, size: int) -> tuple[int, ...]:
        """One other place; the own one with 1 - p."""
        return one_partner(rng, own, size, self.p)

    def mix(self, sample: Sample, partners: Sequence[Sample], rng: np.random.Generator) -> Sample:
        """Both pictures and their labels, averaged."""
        partner = _partner("MixUp", sample, partners)
        share = float(rng.beta(self.alpha, self.alpha))
        picture = picture_name(sample, "MixUp")

        def change(name: str, own: Any, other: Any) -> Any:
            if name == picture:
                own = own.float()
                return own if other is None else own * share + other.float() * (1.0 - share)
            if name == "mask":
                raise UserError("MixUp cannot average masks", todo="Use CutMix or Mosaic.")
            return shared_label("MixUp", name, own, other, share, self.num_classes)

        return with_fields(sample, partner, change)


class CutMix:
    """A rectangle of the partner in the picture, its area from Beta(alpha, alpha).

    Labels are shared by area; a mask gets the same rectangle of the partner's mask.
    """

    place: ClassVar[Literal["tensors"]] = "tensors"
    thread_safe: ClassVar[bool] = True

    def __init__(
        self, *, alpha: float = 1.0, p: float = 1.0, num_classes: int | None = None
    ) -> None:
        self.alpha = _positive("CutMix", alpha)
        self.p = chance("CutMix", p)
        self.num_classes = num_classes

    def partners(self, rng: np.random.Generator, own: int, size: int) -> tuple[int, ...]:
        """One other place; the own one with 1 - p."""
        return one_partner(rng, own, size, self.p)

    def mix(self, sample: Sample, partners: Sequence[Sample], rng: np.random.Generator) -> Sample:
        """The picture with its rectangle."""
        partner = _partner("CutMix", sample, partners)
        picture = picture_name(sample, "CutMix")
        height, width = sample[picture].shape[-2:]
        top, left, bottom, right = _rectangle(rng, self.alpha, height, width)
        share = 1.0 - (bottom - top) * (right - left) / (height * width)

        def change(name: str, own: Any, other: Any) -> Any:
            if name not in (picture, "mask"):
                return shared_label("CutMix", name, own, other, share, self.num_classes)
            if other is None:
                return own
            out: Tensor = own.clone()
            out[..., top:bottom, left:right] = other[..., top:bottom, left:right]
            return out

        return with_fields(sample, partner, change)


class MixUpOrCutMix:
    """Either one for each sample: CutMix with probability `switch`, else MixUp."""

    place: ClassVar[Literal["tensors"]] = "tensors"
    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        *,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        switch: float = 0.5,
        p: float = 1.0,
        num_classes: int | None = None,
    ) -> None:
        self.switch = chance("MixUpOrCutMix", switch)
        self.p = chance("MixUpOrCutMix", p)
        self._mixup = MixUp(alpha=mixup_alpha, num_classes=num_classes)
        self._cutmix = CutMix(alpha=cutmix_alpha, num_classes=num_classes)

    def partners(self, rng: np.random.Generator, own: int, size: int) -> tuple[int, ...]:
        """One other place; the own one with 1 - p."""
        return one_partner(rng, own, size, self.p)

    def mix(self, sample: Sample, partners: Sequence[Sample], rng: np.random.Generator) -> Sample:
        """One of both; pixels are floats either way."""
        if rng.random() >= self.switch:
            return self._mixup.mix(sample, partners, rng)
        out = self._cutmix.mix(sample, partners, rng)
        picture = picture_name(out, "CutMix")
        out[picture] = out[picture].float()
        return out


def one_partner(rng: np.random.Generator, own: int, size: int, p: float) -> tuple[int, ...]:
    """Another place of the batch with probability p, else the own one."""
    mixed = rng.random() < p
    other = int(rng.integers(0, max(1, size - 1)))
    if not mixed or size < 2:
        return (own,)
    return (other + (other >= own),)


def _partner(who: str, sample: Sample, partners: Sequence[Sample]) -> Sample | None:
    """The other sample; None where the sample stays as it is."""
    if not partners or partners[0] is sample:
        return None
    name = picture_name(sample, who)
    own, other = sample[name].shape, partners[0][picture_name(partners[0], who)].shape
    if own != other:
        raise UserError(
            f"{who} of a picture of {own[1]}x{own[2]} with one of {other[1]}x{other[2]}",
            where=sample_name(sample),
            todo="Give all pictures one size with Resize or a crop.",
        )
    return partners[0]


def _rectangle(rng: np.random.Generator, alpha: float, height: int, width: int) -> Rectangle:
    """Top, left, bottom, right: centred anywhere, cut at the border."""
    side = math.sqrt(1.0 - float(rng.beta(alpha, alpha)))
    rows, columns = round(height * side), round(width * side)
    y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
    top, left = max(0, y - rows // 2), max(0, x - columns // 2)
    return top, left, min(height, y - rows // 2 + rows), min(width, x - columns // 2 + columns)


def _positive(name: str, alpha: float) -> float:
    if alpha <= 0:
        raise UserError(f"{name}: alpha is {alpha}", todo="Use a number above 0.")
    return alpha
