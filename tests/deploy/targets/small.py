"""Three small networks of 32 px and their programs: a classifier, a detector, a segmenter."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.ops.boxes import anchor_points
from cvtrainer.tasks.detection import Detection

RAW = {
    "classifier": ("output",),
    "detector": ("scores", "distances", "anchors"),
    "segmenter": ("output",),
}
"""What each network itself gives; the rest is read in it."""


class Classifier(nn.Module):
    """Depthwise, hard swish, squeeze and excite, a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()
        )
        self.deep = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.deep(x)
        mean = y.mean((2, 3), keepdim=True)
        share = functional.hardsigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return self.head((x + y * share).mean((2, 3))) * 4


def _classifier() -> tuple[nn.Module, Deployable]:
    network = Classifier()

    def compute(x: Tensor) -> dict[str, Tensor]:
        scores = network(x)
        return {"output": scores, "class_id": scores.argmax(dim=1)}

    return network, Deployable(network, compute, ("output", "class_id"))


class Detector(nn.Module):
    """Two sizes of maps through one convolution that all share, each with a norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.shared = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.score = nn.Conv2d(8, 2, 1)
        self.distance = nn.Conv2d(8, 16, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.stem(x)
        scores, distances, anchors = [], [], []
        for level, (one, stride) in enumerate(((fine, 4), (self.down(fine), 8))):
            y = torch.relu(self.norms[level](self.shared(one)))
            scores.append(self.score(y).flatten(2))
            distances.append(self.distance(y).flatten(2))
            anchors.append(anchor_points(one, stride))
        return {
            "scores": torch.cat(scores, dim=2).transpose(1, 2),
            "distances": torch.cat(distances, dim=2).transpose(1, 2),
            "anchors": torch.cat(anchors),
        }


def _detector() -> tuple[nn.Module, Deployable]:
    network, reading = Detector(), Detection(most=5, candidates=20, max_overlap=0.3)
    found = ("found_boxes", "found_scores", "found_classes")

    def compute(x: Tensor) -> dict[str, Tensor]:
        made = network(x)
        return {**made, **reading.decode(made)}

    return network, Deployable(network, compute, (*RAW["detector"], *found))


class Segmenter(nn.Module):
    """Down, and up again beside what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU())
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        wide = functional.interpolate(self.down(fine), scale_factor=2.0, mode="nearest")
        scores = self.head(torch.cat((fine, wide), dim=1))
        return functional.interpolate(
            scores, scale_factor=2.0, mode="bilinear", align_corners=False
        )


def _segmenter() -> tuple[nn.Module, Deployable]:
    network = Segmenter()

    def compute(x: Tensor) -> dict[str, Tensor]:
        scores = network(x)
        return {"output": scores, "class_map": scores.argmax(dim=1)}

    return network, Deployable(network, compute, ("output", "class_map"))


def pictures(count: int, seed: int = 1) -> Tensor:
    """What is fed."""
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@cache
def program(kind: str, precision: str = "fp32") -> Program:
    """The captured network with norms that do something, as it is or rounded."""
    if precision == "int8":
        return quantised(program(kind), [pictures(8)], Scheme())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, module = {
            "classifier": _classifier,
            "detector": _detector,
            "segmenter": _segmenter,
        }[kind]()
        for one in network.modules():
            if isinstance(one, nn.BatchNorm2d):
                one.running_mean.uniform_(-0.2, 0.2)
                one.running_var.uniform_(0.5, 2.0)
    return captured(module, pictures(2))


def contract_of(target: str, program: Program) -> Contract:
    """What its runner is told."""
    return Contract(target, program.precision, program.input, program.outputs, InputSpec())
