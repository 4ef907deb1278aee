"""Mean average precision of boxes: COCO's own numbers, in any order and merged over ranks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cvtrainer.meters import BoxMAPMeter

torchmetrics = pytest.importorskip("torchmetrics")
pytest.importorskip("faster_coco_eval")


def pictures(count: int = 12) -> list[tuple[Tensor, ...]]:
    """Per picture: boxes found, scores, classes; boxes right and labels."""
    generator = torch.Generator().manual_seed(5)
    made = []
    for number in range(count):
        many = number % 4
        corner = torch.rand(many, 2, generator=generator) * 200
        right = torch.cat((corner, corner + 10 + torch.rand(many, 2, generator=generator) * 120), 1)
        labels = torch.randint(0, 3, (many,), generator=generator)
        found = torch.cat((right + 6 * torch.randn(many, 4, generator=generator), right[:1] * 0.5))
        kinds = torch.cat((labels, labels[:1]))
        scores = 0.1 + 0.9 * torch.rand(len(found), generator=generator)
        made.append((found, scores, kinds, right, labels))
    return made


def padded(chosen: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    def rows(place: int, size: int) -> Tensor:
        values = [one[place] for one in chosen]
        shape = (len(values), size, *values[0].shape[1:])
        whole = torch.zeros(shape, dtype=values[0].dtype)
        for number, value in enumerate(values):
            whole[number, : len(value)] = value
        return whole

    padding = torch.ones(len(chosen), 6, dtype=torch.bool)
    for number, one in enumerate(chosen):
        padding[number, : len(one[3])] = False
    return (*(rows(place, 6) for place in range(5)), padding)


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_numbers_are_the_reference(ranks: int) -> None:
    from torchmetrics.detection import MeanAveragePrecision

    reference = MeanAveragePrecision(backend="faster_coco_eval")
    every = pictures()
    for found, scores, kinds, right, labels in every:
        reference.update(
            [{"boxes": found, "scores": scores, "labels": kinds}],
            [{"boxes": right, "labels": labels}],
        )
    expected = reference.compute()
    parts = [BoxMAPMeter() for _ in range(ranks)]
    for place in range(0, len(every), 3):
        parts[(place // 3) % ranks].update(*padded(every[place : place + 3]))
    meter = BoxMAPMeter()
    assert meter.compute() == {}
    meter.merge([part.state_dict() for part in parts])
    found_values = meter.compute()
    for name in ("map", "map_50", "map_75", "map_small", "map_medium", "map_large"):
        if float(expected[name]) >= 0:
            assert found_values[name] == pytest.approx(float(expected[name]), abs=1e-6), name
    assert found_values["recall_100"] == pytest.approx(float(expected["mar_100"]), abs=1e-6)
    again = BoxMAPMeter()
    again.load_state_dict(meter.state_dict())
    assert again.compute() == found_values


def test_nothing_found_is_zero_and_nothing_right_is_no_number() -> None:
    fields = padded(pictures(3)[1:])
    meter = BoxMAPMeter()
    meter.update(fields[0], torch.zeros_like(fields[1]), *fields[2:])
    assert meter.compute()["map"] == 0.0
    empty = BoxMAPMeter()
    empty.update(*fields[:5], torch.ones_like(fields[5]))
    assert empty.compute() == {}


def test_where_nothing_is_found_sizes_that_are_not_there_are_left_out() -> None:
    meter = BoxMAPMeter()
    nothing = (torch.zeros(1, 2, 4), torch.zeros(1, 2), torch.zeros(1, 2).long())
    large = torch.tensor([[[0.0, 0.0, 200.0, 200.0]]])
    meter.update(*nothing, large, torch.tensor([[0]]), torch.tensor([[False]]))
    told = meter.compute()
    assert set(told) == {"map", "map_50", "map_75", "map_large", "recall_100"}
    assert set(told.values()) == {0.0}
