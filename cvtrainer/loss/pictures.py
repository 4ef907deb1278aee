"""Losses between pictures: structure, and what a trained network sees in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.ops.similarity import structural_similarity

_BACKBONES = {"alex": "AlexNet", "vgg": "VGG16", "squeeze": "SqueezeNet1_1"}
NETWORKS = tuple(_BACKBONES)


class SSIMLoss(nn.Module):
    """One minus structural similarity."""

    def __init__(self, data_range: float = 1.0, window: int = 11) -> None:
        super().__init__()
        if window < 3 or window % 2 == 0:
            raise UserError(f"SSIMLoss: window is {window}; give an odd number from 3 on")
        self.data_range = data_range
        self.window = window

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Pictures `[N, C, H, W]`, both on a scale of that range."""
        if min(output.shape[-2:]) < self.window:
            raise UserError(
                f"SSIMLoss: pictures of {list(output.shape[-2:])} are smaller than the window "
                f"of {self.window}"
            )
        alike = structural_similarity(
            output, target, data_range=self.data_range, window=self.window
        )
        return 1 - alike.mean()


class PerceptualLoss(nn.Module):
    """LPIPS of pictures on a scale of 0 to 1, or a stand-in that needs nothing.

    `lpips` is the package of that name with its trained weights (`pip install cvtrainer[lpips]`);
    those of its backbone must be where torch keeps fetched files, unless `download` allows to fetch
    them. `gradients` is the stand-in: differences of edges at four sizes. It is not a perceptual
    distance, and its values say nothing about LPIPS.
    """

    def __init__(
        self,
        kind: Literal["lpips", "gradients"] = "lpips",
        network: Literal["alex", "vgg", "squeeze"] = "alex",
        download: bool = False,
    ) -> None:
        super().__init__()
        if kind not in ("lpips", "gradients"):
            raise UserError(f"PerceptualLoss: kind is {kind!r}; it can be lpips, gradients")
        if network not in NETWORKS:
            raise UserError(
                f"PerceptualLoss: network is {network!r}; it can be {', '.join(NETWORKS)}"
            )
        self.kind = kind
        self.judge = _lpips(network, download) if kind == "lpips" else None
        hooked: Any = self  # torch has no types for these two
        hooked.register_state_dict_post_hook(_leave_judge_out)
        hooked.register_load_state_dict_pre_hook(_put_judge_in)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        if self.judge is not None:
            judged: Tensor = self.judge(2 * output - 1, 2 * target - 1)
            return judged.mean()
        return _edge_difference(output, target)

    def train(self, mode: bool = True) -> PerceptualLoss:
        """The judge does not learn."""
        super().train(mode)
        if self.judge is not None:
            self.judge.eval()
        return self


def _leave_judge_out(
    loss: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
) -> None:
    """It never changes, and would be megabytes of every checkpoint."""
    for name in [one for one in state if one.startswith(f"{prefix}judge.")]:
        del state[name]


def _put_judge_in(loss: nn.Module, state: dict[str, Any], prefix: str, *told: Any) -> None:
    judge = loss.judge
    if isinstance(judge, nn.Module):
        state |= {f"{prefix}judge.{name}": one for name, one in judge.state_dict().items()}


def _lpips(network: str, download: bool) -> nn.Module:
    try:
        import lpips
    except ImportError as error:
        raise UserError(
            "PerceptualLoss: the package lpips is not installed",
            todo="pip install 'cvtrainer[lpips]', or use kind: gradients, a stand-in.",
        ) from error
    kept = _kept(network)
    if not (download or kept.is_file()):
        raise UserError(
            f"PerceptualLoss: the weights of {network} for lpips are not there",
            where=str(kept),
            todo="Put them there, allow to fetch them with download: true, or use kind: gradients, "
            "a stand-in.",
        )
    try:
        judge: nn.Module = lpips.LPIPS(net=network, verbose=False)
    except OSError as error:
        raise UserError(
            f"PerceptualLoss: the weights of {network} for lpips cannot be fetched: {error}",
            where=str(kept),
            todo="Put them there, or use kind: gradients, a stand-in.",
        ) from error
    return judge.requires_grad_(False)


def _kept(network: str) -> Path:
    """Where torch looks for the backbone's weights before it fetches them."""
    from torchvision.models import get_weight

    url: str = get_weight(f"{_BACKBONES[network]}_Weights.IMAGENET1K_V1").url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _edge_difference(output: Tensor, target: Tensor) -> Tensor:
    total = output.new_zeros(())
    for size in range(4):
        if min(output.shape[-2:]) < 2:
            break
        if size:
            output = nn.functional.avg_pool2d(output, 2, ceil_mode=True)
            target = nn.functional.avg_pool2d(target, 2, ceil_mode=True)
        for axis in (-2, -1):
            edges = torch.diff(output, dim=axis) - torch.diff(target, dim=axis)
            total = total + (edges.abs().mean() if edges.numel() else 0.0)
    return total
