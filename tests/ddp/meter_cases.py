"""Every registered meter with data that it can measure: one split per kind of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import PearsonCorrCoef, SumMetric
from torchmetrics.classification import MulticlassCohenKappa

from cvtrainer import meters
from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.world import World
from cvtrainer.engine.recorder import MeterEntry
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import BaseHook
from cvtrainer.protocols import Batch, UpdateResult
from cvtrainer.trainer import Trainer

SAMPLES = 13
"""In batches of six over two ranks: the second one has a batch less."""


def classes(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(SAMPLES, 4, generator=draw), torch.arange(SAMPLES) % 3


def labels(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    scores = torch.randn(SAMPLES, 4, generator=draw)
    return scores, (torch.rand(SAMPLES, 4, generator=draw) > 0.6).float()


def of_one_number(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    made, wanted = numbers(draw)
    return made[:, 0] - 1000, wanted[:, 0] - 1000


def numbers(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    wanted = 1000 + torch.randn(SAMPLES, 3, generator=draw)
    return wanted + 0.3 * torch.randn(SAMPLES, 3, generator=draw), wanted


def regions(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    target = torch.randint(0, 3, (SAMPLES, 4, 4), generator=draw).repeat_interleave(4, 1)
    target = target.repeat_interleave(4, 2)
    return torch.randn(SAMPLES, 3, 16, 16, generator=draw), target


def pictures(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    wanted = torch.rand(SAMPLES, 3, 16, 16, generator=draw)
    return (wanted + 0.1 * torch.randn(wanted.shape, generator=draw)).clamp(0, 1), wanted


def keypoints(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    wanted = 20 * torch.rand(SAMPLES, 5, 2, generator=draw)
    return wanted + torch.randn(wanted.shape, generator=draw), wanted


def boxes(draw: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Three found and two right ones each, some of them near each other."""
    corner = 40 * torch.rand(SAMPLES, 2, 2, generator=draw)
    right = torch.cat((corner, corner + 20 + 10 * torch.rand(SAMPLES, 2, 2, generator=draw)), -1)
    near = right + 4 * torch.randn(right.shape, generator=draw)
    far = torch.cat((near, near[:, :1] + 15), 1)
    scores = torch.rand(SAMPLES, 3, 1, generator=draw) + 0.01
    kinds = torch.tensor([[[0.0], [1.0], [0.0]]]).expand(SAMPLES, 3, 1)
    wanted = {
        "boxes": right,
        "box_labels": torch.tensor([[0, 1]]).expand(SAMPLES, 2),
        "boxes_padding": torch.arange(2)[None] > torch.arange(SAMPLES)[:, None] % 2,
    }
    return torch.cat((far, scores, kinds), -1), wanted


def of_boxes(x: Tensor) -> dict[str, Tensor]:
    return {
        "found_boxes": x[..., :4],
        "found_scores": x[..., 4],
        "found_classes": x[..., 5].long(),
    }


def objects(draw: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Three rectangles found and two right ones each, of 24 places a side."""
    corner = torch.randint(0, 8, (SAMPLES, 2, 2), generator=draw)
    right = torch.cat((corner, corner + 12), -1)
    near = right + torch.randint(-2, 3, right.shape, generator=draw)
    far = torch.cat((near, near[:, :1] + 4), 1)
    wanted = {
        "masks": covered(right).to(torch.uint8),
        "box_labels": torch.tensor([[0, 1]]).expand(SAMPLES, 2),
        "boxes_padding": torch.arange(2)[None] > torch.arange(SAMPLES)[:, None] % 2,
    }
    scores = torch.rand(SAMPLES, 3, 1, generator=draw) + 0.01
    kinds = torch.tensor([[[0.0], [1.0], [0.0]]]).expand(SAMPLES, 3, 1)
    return torch.cat((covered(far).flatten(2).float(), scores, kinds), -1), wanted


def covered(corners: Tensor) -> Tensor:
    """Rectangles `[..., 4]` as masks of 24 x 24."""
    places = torch.arange(24)
    left, top, right, bottom = (edge[..., None] for edge in corners.unbind(-1))
    columns, rows = (places >= left) & (places < right), (places >= top) & (places < bottom)
    return rows[..., :, None] & columns[..., None, :]


def of_objects(x: Tensor) -> dict[str, Tensor]:
    return {
        "found_masks": x[..., :-2].unflatten(-1, (24, 24)) > 0,
        "found_scores": x[..., -2],
        "found_classes": x[..., -1].long(),
    }


def codes(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 8, (SAMPLES, 6), generator=draw), torch.zeros(SAMPLES)


@dataclass(frozen=True)
class Kind:
    """What the networks would give and what was wanted, and who measures that."""

    data: Callable[[torch.Generator], tuple[Tensor, Tensor | dict[str, Tensor]]]
    meters: Mapping[str, Callable[[], Any]]
    outputs: Callable[[Tensor], dict[str, Tensor]] = lambda x: {"output": x}


KINDS: Mapping[str, Kind] = {
    "classes": Kind(
        classes,
        {
            "accuracy": lambda: meters.AccuracyMeter(topk=(1, 2)),
            "auroc": meters.AUROCMeter,
            "average_precision": meters.AveragePrecisionMeter,
            "balanced_accuracy": meters.BalancedAccuracyMeter,
            "calibration_error": meters.CalibrationErrorMeter,
            "class_accuracy": lambda: meters.ClassAccuracyMeter(list("abcd")),
            "confusion": meters.ConfusionMeter,
            "f1": meters.F1Meter,
            "loss": meters.LossMeter,
            "torchmetrics": lambda: meters.TorchmetricsMeter(MulticlassCohenKappa(4), "kappa"),
        },
    ),
    "labels": Kind(labels, {"multi_label": meters.MultiLabelMeter}),
    "of_one_number": Kind(
        of_one_number,
        {
            "torchmetrics": lambda: meters.TorchmetricsMeter(PearsonCorrCoef(), "r"),
            "sum": lambda: meters.TorchmetricsMeter(SumMetric(), "sum"),
        },
    ),
    "numbers": Kind(
        numbers,
        {"regression": meters.RegressionMeter, "mean": lambda: meters.MeanMeter("mean_of_all")},
    ),
    "regions": Kind(
        regions,
        {
            "boundary_f": meters.BoundaryFMeter,
            "dice": meters.DiceMeter,
            "mean_iou": meters.MeanIoUMeter,
        },
    ),
    "pictures": Kind(
        pictures,
        {
            "feature_distance": meters.FeatureDistanceMeter,
            "psnr": meters.PSNRMeter,
            "ssim": meters.SSIMMeter,
        },
    ),
    "keypoints": Kind(keypoints, {"pck": meters.PCKMeter}),
    "boxes": Kind(boxes, {"box_map": meters.BoxMAPMeter}, of_boxes),
    "objects": Kind(
        objects,
        {
            "count_error": meters.CountErrorMeter,
            "mask_map": meters.MaskMAPMeter,
            "union_dice": meters.UnionDiceMeter,
        },
        of_objects,
    ),
    "codes": Kind(codes, {"perplexity": lambda: meters.PerplexityMeter(8)}),
}


class Rows:
    """A data set of outputs that are known, and of targets."""

    def __init__(self, kind: Kind) -> None:
        self.made, wanted = kind.data(torch.Generator().manual_seed(3))
        self.wanted = {"wanted": wanted} if isinstance(wanted, Tensor) else wanted

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Any]:
        target = {name: rows[index] for name, rows in self.wanted.items()}
        return {"x": self.made[index], "target": target, "meta": {"index": index}}


class Known:
    """A task whose network gives what the sample says."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.networks: Mapping[str, nn.Module] = {"model": nn.Linear(1, 1)}

    def updates(self) -> Sequence[Any]:
        return ()

    def replace(self, networks: Mapping[str, nn.Module]) -> None: ...

    def evaluate(self, batch: Batch) -> UpdateResult:
        loss = batch["x"].double().mean()
        return UpdateResult(loss, {"part": loss * 2}, self.kind.outputs(batch["x"]))


def measured(name: str, world: World, spread: Sequence[BaseHook] = ()) -> dict[str, float]:
    """What the meters of this kind give over the whole split."""
    kind = KINDS[name]
    stream = LoaderStream(Rows(kind), options={"batch_size": 6 // world.world_size}, training=False)
    trainer = Trainer(
        Known(kind),
        dataloaders={"val": stream},
        hooks=spread,
        meters=[MeterEntry(short, make()) for short, make in kind.meters.items()],
        settings=StageSettings(world=world),
    )
    return trainer.evaluate()
