"""Meters of objects with masks: COCO's own numbers, counts and unions, in one piece or merged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes

from cvtrainer.core.errors import UserError
from cvtrainer.meters import CountErrorMeter, MaskMAPMeter, UnionDiceMeter

pytest.importorskip("faster_coco_eval")

SIDE = 200
Picture = dict[str, Tensor]


def blobs(count: int, draw: torch.Generator) -> Tensor:
    """Rectangles of all three sizes that COCO knows."""
    corner = torch.randint(0, 90, (count, 2), generator=draw)
    sides = torch.tensor([[12], [50], [105]])[torch.randint(0, 3, (count,), generator=draw)]
    sides = sides + torch.randint(0, 9, (count, 2), generator=draw)
    places = torch.arange(SIDE)
    spans = [
        (places >= corner[:, k, None]) & (places < (corner + sides)[:, k, None]) for k in (0, 1)
    ]
    return spans[1][:, :, None] & spans[0][:, None, :]


def pictures(count: int = 10) -> list[Picture]:
    """Found masks are right ones moved a little, and one more; some pictures have no object."""
    draw = torch.Generator().manual_seed(5)
    made = []
    for number in range(count):
        many = number % 4
        right = blobs(many, draw)
        shift = int(torch.randint(0, 9, (1,), generator=draw))
        found = torch.cat((right.roll(shift, -1), right[:1].roll(-12, -2), blobs(1, draw)))
        labels = torch.randint(0, 3, (many,), generator=draw)
        kinds = torch.cat((labels, labels[:1], labels.new_tensor([number % 3])))
        scores = 0.05 + 0.9 * torch.rand(len(found), generator=draw)
        made.append(
            {"right": right, "labels": labels, "found": found, "kinds": kinds, "scores": scores}
        )
    return made


def batch(some: list[Picture]) -> dict[str, Tensor]:
    """As a reading and a batch give them: five found at most, four right ones, the rest padding."""

    def rows(name: str, size: int) -> Tensor:
        whole = some[0][name].new_zeros(len(some), size, *some[0][name].shape[1:])
        for number, one in enumerate(some):
            whole[number, : len(one[name])] = one[name]
        return whole

    there = torch.tensor([len(one["right"]) for one in some])
    return {
        "found_masks": rows("found", 6),
        "found_scores": rows("scores", 6),
        "found_classes": rows("kinds", 6),
        "masks": rows("right", 4).to(torch.uint8),
        "box_labels": rows("labels", 4),
        "boxes_padding": torch.arange(4)[None] >= there[:, None],
    }


def chosen(given: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: given[name] for name in names}


@pytest.mark.parametrize("ranks", [1, 2])
def test_mask_precision_is_the_reference(ranks: int) -> None:
    from torchmetrics.detection import MeanAveragePrecision

    reference = MeanAveragePrecision(
        iou_type=("bbox", "segm"),  # without boxes it leaves out pictures without objects
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),  # its own are rounded
        backend="faster_coco_eval",
    )
    every = pictures()
    for one in every:
        found = {"boxes": masks_to_boxes(one["found"]), "masks": one["found"]}
        right = {"boxes": torch.zeros(len(one["right"]), 4), "masks": one["right"]}
        reference.update(
            [{**found, "scores": one["scores"], "labels": one["kinds"]}],
            [{**right, "labels": one["labels"]}],
        )
    expected = reference.compute()
    parts = [MaskMAPMeter() for _ in range(ranks)]
    for place in range(0, len(every), 3):
        parts[(place // 3) % ranks].update(**batch(every[place : place + 3]))
    whole = MaskMAPMeter()
    whole.merge([part.state_dict() for part in parts])
    values = whole.compute()
    assert set(values) == set(MaskMAPMeter.PRODUCES), "all sizes occur"
    for name, value in values.items():
        assert value == pytest.approx(float(expected[name.replace("mask", "segm")]), abs=1e-5)
    assert 0 < values["mask_map"] < values["mask_map_50"] < 1


def test_masks_of_two_sizes_and_no_object() -> None:
    meter = MaskMAPMeter()
    assert meter.compute() == {}
    empty = batch(pictures(1))
    meter.update(**empty)
    assert meter.compute() == {}, "what was found where nothing is can be wrong only later"
    some = batch(pictures(4)[1:])
    perfect = {
        "found_masks": some["masks"].bool(),
        "found_scores": 0.01 * (~some["boxes_padding"]),
        "found_classes": some["box_labels"],
        **chosen(some, "masks", "box_labels", "boxes_padding"),
    }
    alone = MaskMAPMeter()
    alone.update(**perfect)
    half = {name: one[..., ::2, ::2] if one.ndim == 4 else one for name, one in perfect.items()}
    alone.update(**half)
    assert alone.compute()["mask_map"] == pytest.approx(1.0)
    alone.reset()
    assert alone.compute() == {}
    meter.update(**perfect)
    assert meter.compute()["mask_map"] < 1, "it was surer of what it found in the empty picture"


def test_counts_and_unions() -> None:
    count, union = CountErrorMeter(0.5), UnionDiceMeter(0.5)
    assert count.compute() == union.compute() == {}
    every = pictures()
    for place in range(0, len(every), 4):
        given = batch(every[place : place + 4])
        count.update(**chosen(given, "found_scores", "boxes_padding"))
        union.update(
            **chosen(given, "found_masks", "found_scores", "masks", "boxes_padding"),
        )
    off = [abs(int((one["scores"] >= 0.5).sum()) - len(one["right"])) for one in every]
    assert count.compute()["count_error"] == pytest.approx(sum(off) / len(off))
    both = each = 0
    for one in every:
        found = one["found"][one["scores"] >= 0.5].any(0)
        right = one["right"].any(0)
        both, each = both + int((found & right).sum()), each + int(found.sum() + right.sum())
    assert union.compute()["union_dice"] == pytest.approx(2 * both / each)


def test_what_does_not_fit_is_said() -> None:
    given = batch(pictures(4))
    with pytest.raises(UserError, match="as large as the input"):
        MaskMAPMeter().update(**{**given, "masks": given["masks"][..., :-1]})
    with pytest.raises(UserError, match="told_from is 2"):
        CountErrorMeter(2)
