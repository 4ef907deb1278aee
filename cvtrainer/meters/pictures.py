"""How good made pictures are, and how much of a code book is used for them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.forms import same_shape
from cvtrainer.meters.tally import TallyMeter
from cvtrainer.ops.similarity import peak_signal_to_noise, structural_similarity


class PSNRMeter(TallyMeter):
    """Peak signal to noise, the mean over pictures."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("psnr",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"psnr": True}

    def __init__(self, data_range: float = 1.0) -> None:
        super().__init__()
        self.data_range = data_range

    def update(self, output: Tensor, target: Tensor) -> None:
        made, wanted = same_shape("PSNRMeter", output, target)
        values = peak_signal_to_noise(made, wanted, data_range=self.data_range)
        self.tally.add(value=values.double().sum(), pictures=_count(values))

    def compute(self) -> dict[str, float]:
        """Empty before the first picture."""
        return _mean(self.tally.numbers(), "psnr")


class SSIMMeter(TallyMeter):
    """Structural similarity, the mean over pictures.

    Only windows that are wholly inside a picture count, as in scikit-image with `gaussian_weights`,
    a sigma of 1.5 and `use_sample_covariance` off; torchmetrics adds a mirrored border to them.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("ssim",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"ssim": True}

    def __init__(self, data_range: float = 1.0, window: int = 11) -> None:
        super().__init__()
        self.data_range = data_range
        self.window = window

    def update(self, output: Tensor, target: Tensor) -> None:
        made, wanted = same_shape("SSIMMeter", output, target)
        values = structural_similarity(made, wanted, data_range=self.data_range, window=self.window)
        self.tally.add(value=values.double().sum(), pictures=_count(values))

    def compute(self) -> dict[str, float]:
        """Empty before the first picture."""
        return _mean(self.tally.numbers(), "ssim")


class PerplexityMeter(TallyMeter):
    """How many codes of a book are in use, as the perplexity of their frequencies over an epoch."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("perplexity",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"perplexity": True}

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codes = codes

    def update(self, output: Tensor) -> None:
        """The numbers of the codes that were used, in any shape."""
        used = torch.bincount(output.detach().reshape(-1), minlength=self.codes)
        if len(used) > self.codes:
            raise UserError(
                f"PerplexityMeter: codes is {self.codes}, and code {len(used) - 1} is in use",
                todo="Set codes to those of the code book.",
            )
        self.tally.add(used=used)

    def compute(self) -> dict[str, float]:
        """Empty before the first code."""
        if not self.tally:
            return {}
        share = self.tally["used"].double()
        share = share / share.sum()
        return {"perplexity": float(torch.exp(torch.special.entr(share).sum()))}


def _count(values: Tensor) -> Tensor:
    return torch.tensor(len(values), device=values.device)


def _mean(read: dict[str, float], name: str) -> dict[str, float]:
    return {name: read["value"] / read["pictures"]} if read.get("pictures") else {}
