"""A detector with its decoding as one exported program: what it finds is what eager code finds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.models import BaseModel
from cvtrainer.models.adapters import PAN
from cvtrainer.models.backbones import EdgeNet
from cvtrainer.models.heads import DetectionHead
from cvtrainer.ops.boxes import kept_boxes, overlap
from cvtrainer.tasks import Detection


class Finder(nn.Module):
    """A picture in, objects out: what goes onto a device."""

    def __init__(self, model: nn.Module, task: Detection) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.task.decode(self.model(x))
        return found["found_boxes"], found["found_scores"], found["found_classes"]


def sure_model(head: DetectionHead) -> BaseModel:
    """A random detector that is sure of what it says, so that there is much to suppress."""
    torch.manual_seed(2)
    model = BaseModel(EdgeNet(0.25, depth=0.5, taps=[8, 16, 32]), PAN(16), head)
    with torch.no_grad():
        head.score.weight.normal_(std=3.0)
        head.distance.weight.normal_(std=0.3)
        for _ in range(20):
            model(torch.randn(4, 3, 64, 64))
    return model.eval()


def test_an_exported_detector_finds_the_same() -> None:
    finder = Finder(
        sure_model(DetectionHead(3, bins=8)), Detection(max_overlap=0.3, most=50, candidates=60)
    )
    program = torch.export.export(finder, (torch.rand(1, 3, 96, 64),)).module()
    for seed in range(3):
        pictures = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            eager, exported = finder(pictures), program(pictures)
        assert (eager[1] > 0).sum(dim=1).min() >= 3
        assert (eager[1] == 0).any(), "nothing was suppressed"
        for here, there in zip(eager, exported, strict=True):
            torch.testing.assert_close(here, there)


def test_one_program_takes_any_number_of_pictures() -> None:
    finder = Finder(sure_model(DetectionHead(2, bins=8)), Detection(most=10, candidates=40))
    program = torch.export.export(
        finder, (torch.rand(2, 3, 64, 64),), dynamic_shapes={"x": {0: torch.export.Dim("n", max=8)}}
    ).module()
    for batch in (1, 2, 5):
        pictures = torch.randn(batch, 3, 64, 64)
        with torch.no_grad():
            for here, there in zip(finder(pictures), program(pictures), strict=True):
                torch.testing.assert_close(here, there)


def test_suppression_is_the_greedy_one() -> None:
    """Against the textbook loop: best first, whoever overlaps a kept one of its class goes."""
    generator = torch.Generator().manual_seed(5)
    corner = 40 * torch.rand(4, 50, 2, generator=generator)
    boxes = torch.cat((corner, corner + 5 + 20 * torch.rand(4, 50, 2, generator=generator)), dim=-1)
    classes = torch.randint(2, (4, 50), generator=generator)
    kept = kept_boxes(boxes, classes, 0.5)
    for picture in range(4):
        pairs = overlap(boxes[picture], boxes[picture])
        stay: list[int] = []
        for place in range(50):
            rivals = [one for one in stay if classes[picture, one] == classes[picture, place]]
            if all(float(pairs[place, one]) <= 0.5 for one in rivals):
                stay.append(place)
        assert kept[picture].nonzero().flatten().tolist() == stay


INT8_FRIENDLY = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Upsample, nn.MaxPool2d)


@pytest.mark.parametrize("width", [0.5, 1.0, 1.25])
def test_it_is_made_of_layers_that_every_quantiser_knows(width: float) -> None:
    adapter = PAN(round(64 * width))
    model = BaseModel(EdgeNet(width, taps=[8, 16, 32]), adapter, DetectionHead(3))
    kinds = {type(layer) for layer in model.modules() if not list(layer.children())}
    assert kinds <= set(INT8_FRIENDLY), f"{kinds - set(INT8_FRIENDLY)}"
    parameters = sum(one.numel() for one in model.parameters())
    assert 0.3e6 < parameters < 2.4e6
    assert all(one.groups == 1 for one in model.modules() if isinstance(one, nn.Conv2d))
