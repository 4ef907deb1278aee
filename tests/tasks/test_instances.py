"""Objects with masks, from outputs to plain values; exported; any size of picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from faster_coco_eval import mask as reference
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models import BaseModel
from cvtrainer.models.adapters import FPN, UNetDecoder
from cvtrainer.models.backbones import EdgeNet
from cvtrainer.models.heads import InstanceHead, MaskHead
from cvtrainer.tasks import Instances, Segmentation
from cvtrainer.telling.borders import polygons_of


class Whole(nn.Module):
    """A picture in, objects or classes out: what goes onto a device."""

    def __init__(self, model: nn.Module, task: Instances | Segmentation) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        made = self.model(x)
        found: dict[str, Tensor] = self.task.decode(
            made if isinstance(made, dict) else {"output": made}
        )
        return found


def sure_model(classes: int = 2) -> BaseModel:
    """Random, and sure of what it says."""
    torch.manual_seed(3)
    head = InstanceHead(classes, bins=8, prototypes=6)
    model = BaseModel(EdgeNet(0.25, depth=0.5, taps=[4, 8, 16]), FPN(16), head)
    with torch.no_grad():
        head.detector.score.weight.normal_(std=3.0)
        for _ in range(20):
            model(torch.randn(4, 3, 64, 64))
    return model.eval()


@pytest.mark.parametrize("size", [(64, 96), (61, 90), (33, 47)])
def test_an_exported_program_finds_the_same(size: tuple[int, int]) -> None:
    whole = Whole(sure_model(), Instances(max_overlap=0.4, most=20, candidates=50))
    pictures = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    program = torch.export.export(
        whole, (pictures,), dynamic_shapes={"x": {0: torch.export.Dim("n", max=8)}}
    ).module()
    for count in (1, 2, 3):
        some = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            here, there = whole(some), program(some)
        assert here["found_masks"].shape == (count, 20, *size)
        assert here["found_masks"].any()
        assert here.keys() == there.keys()
        for name, value in here.items():
            torch.testing.assert_close(there[name], value, msg=name)


@pytest.mark.parametrize(
    ("size", "taps", "classes"),
    [
        ((32, 48), [2, 4], 2),
        ((37, 53), [2, 4], 1),
        ((37, 53), [4, 8, 16], 2),
        ((50, 41), [8], 3),
        ((5, 7), [4, 8, 16], 2),
    ],
)
def test_any_size_of_picture_has_a_class_everywhere(
    size: tuple[int, int], taps: list[int], classes: int
) -> None:
    torch.manual_seed(0)
    model = BaseModel(EdgeNet(0.25, depth=0.5, taps=taps), UNetDecoder(8), MaskHead(classes)).eval()
    whole = Whole(model, Segmentation())
    pictures = torch.randn(2, 3, *size)
    found = whole(pictures)["class_map"]
    assert found.shape == (2, *size)
    program = torch.export.export(whole, (pictures,)).module()
    assert torch.equal(program(pictures)["class_map"], found)


def test_more_picture_at_the_far_edges_moves_nothing() -> None:
    """A size that is no multiple of the stride is cut, not stretched."""
    torch.manual_seed(0)
    head = MaskHead(2)
    BaseModel(EdgeNet(0.25, depth=0.5, taps=[4]), None, head)
    head.eval()
    channels = head.taken.channels[0]
    maps = [torch.randn(1, channels, 8, 8)]
    whole = head(maps, (32, 32))
    assert torch.equal(head(maps, (30, 29)), whole[..., :30, :29])
    assert torch.equal(head(maps), whole)


def given_outputs() -> dict[str, Tensor]:
    """Two places, prototypes of the left and the upper half of 8 x 12 places, at stride 4."""
    left, upper = torch.full((8, 12), -1.0), torch.full((8, 12), -1.0)
    left[:, :6], upper[:4] = 1.0, 1.0
    distances = torch.full((1, 2, 4, 4), -20.0)
    distances[:, 0, :, 2], distances[:, 1, :, 1] = 20.0, 20.0
    return {
        "scores": torch.tensor([[[-4.0, 3.0], [-1.0, -9.0]]]),
        "distances": distances.flatten(2),
        "anchors": torch.tensor([[20.0, 16.0, 8.0], [12.0, 12.0, 8.0]]),
        "coefficients": torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]),
        "prototypes": torch.stack((left, upper))[None],
        "inside": torch.zeros(1, 1, 31, 46),
    }


def test_each_mask_is_that_of_its_place_and_ends_at_its_box() -> None:
    found = Instances(most=4, candidates=4).decode(given_outputs())
    assert found["found_masks"].shape == (1, 4, 31, 46)
    assert found["found_boxes"][0, :2].round().tolist() == [[4, 0, 36, 32], [4, 4, 20, 20]]
    first, second, third = found["found_masks"][0, :3]
    assert first.nonzero().amin(0).tolist() == [0, 4]
    assert first.nonzero().amax(0).tolist() == [30, 23], "the left half of a box from 4 to 36"
    assert int(first.sum()) == 31 * 20
    assert second.nonzero().amin(0).tolist() == [4, 4]
    assert second.nonzero().amax(0).tolist() == [15, 19], "the upper half of a box from 4 to 20"
    assert third.any(), "a weak guess of the first place"
    assert not found["found_masks"][0, 3].any(), "below the threshold is no object"


@pytest.mark.seed("S3-83")
def test_objects_are_told_with_their_masks() -> None:
    outputs = given_outputs()
    task = Instances(most=4, candidates=4)
    found = {**outputs, **task.decode(outputs)}
    told = json.loads(json.dumps(task.describe(found, 0, ["disc", "ring"])))["objects"]
    assert [(one["class"], one["area"]) for one in told] == [("ring", 31 * 20), ("disc", 12 * 16)]
    mask = reference.decode(told[0]["mask"])
    assert np.array_equal(mask > 0, found["found_masks"][0, 0].numpy())

    shown = task.shown(found)
    assert shown["found_masks"].shape == (1, 2, 31, 46)
    assert shown["scores"] is outputs["scores"]
    assert task.describe(shown, 0, ["disc", "ring"])["objects"] == told

    polygons = Instances(most=4, candidates=4, masks="polygons").describe(found, 0, None)["objects"]
    assert polygons[1]["polygons"] == [[4.25, 4.25, 4.25, 15.75, 19.75, 15.75, 19.75, 4.25]]
    plain = Instances(most=4, candidates=4, masks="none").describe(found, 0, None)["objects"]
    assert plain[0].keys() == {"class", "score", "box", "area"}


def test_each_part_of_a_mask_has_a_border() -> None:
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[1, 1], mask[4:8, 3:6] = True, True
    found = sorted(polygons_of(mask.numpy()), key=len)
    assert len(found) == 2
    assert polygons_of(np.zeros((4, 4), bool)) == []


def test_what_is_missing_or_wrong_is_said() -> None:
    outputs = given_outputs()
    del outputs["prototypes"]
    with pytest.raises(UserError, match="no output 'prototypes'"):
        Instances().decode(outputs)
    with pytest.raises(UserError, match="masks is 'png'; it can be runs, polygons, none"):
        Instances(masks="png")
