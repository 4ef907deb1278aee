"""Assignment: the same as one place and object at a time, and nobody is too small for a place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cvtrainer.loss.assignment import assign
from cvtrainer.ops.boxes import anchor_points, boxes_around, overlap

SIDE = 64
PLACES = torch.cat(
    [anchor_points(torch.zeros(1, 1, SIDE // stride, SIDE // stride), stride) for stride in (8, 16)]
)
FINE = (SIDE // 8) ** 2


def crowd(generator: torch.Generator, objects: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes of all sizes that lie over each other, labels, and which are there."""
    corner = 44 * torch.rand(2, objects, 2, generator=generator)
    sides = 2 + 30 * torch.rand(2, objects, 2, generator=generator)
    labels = torch.randint(3, (2, objects), generator=generator)
    there = torch.rand(2, objects, generator=generator) < 0.8
    return torch.cat((corner, corner + sides), dim=-1), labels, there


def one_at_a_time(
    shares: Tensor, made: Tensor, boxes: Tensor, labels: Tensor, count: int
) -> dict[int, tuple[int, float]]:
    """Place -> its object and what it shall score, for the objects of one picture."""
    overlaps = overlap(boxes, made)
    claims: dict[int, list[tuple[float, int, float]]] = {}
    for number, box in enumerate(boxes.tolist()):
        fit: dict[int, float] = {}
        for place, (x, y, stride) in enumerate(PLACES.tolist()):
            wide, high = (max(box[k + 2] - box[k], stride) / 2 for k in (0, 1))
            if abs(x - (box[0] + box[2]) / 2) <= wide and abs(y - (box[1] + box[3]) / 2) <= high:
                share = float(shares[place, int(labels[number])])
                fit[place] = share**0.5 * float(overlaps[number, place]) ** 6
        for place in sorted(fit, key=lambda one: -fit[one])[:count]:
            claims.setdefault(place, []).append(
                (float(overlaps[number, place]), number, fit[place])
            )
    owners = {place: max(several) for place, several in claims.items()}
    wanted = {}
    for place, (_, number, fit_here) in owners.items():
        mine = [(most, fit) for most, owner, fit in owners.values() if owner == number]
        scale = max(most for most, _ in mine) / max(max(fit for _, fit in mine), 1e-30)
        wanted[place] = number, fit_here * scale
    return wanted


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_one_at_a_time_gives(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes, labels, there = crowd(generator)
    shares = torch.rand(2, len(PLACES), 3, generator=generator)
    made = boxes_around(PLACES, 0.2 + 2 * torch.rand(2, len(PLACES), 4, generator=generator))
    found = assign(shares, made, PLACES, boxes, labels, there, count=5)
    for picture in range(2):
        known = there[picture].nonzero().flatten()
        wanted = one_at_a_time(
            shares[picture], made[picture], boxes[picture, known], labels[picture, known], 5
        )
        assert found.answers[picture].nonzero().flatten().tolist() == sorted(wanted)
        for place, (number, score) in wanted.items():
            owner = int(known[number])
            assert int(found.owners[picture, place]) == owner
            assert found.boxes[picture, place].tolist() == boxes[picture, owner].tolist()
            scores = torch.zeros(3)
            scores[labels[picture, owner]] = score
            torch.testing.assert_close(found.scores[picture, place], scores)


@pytest.mark.parametrize("side", [0.5, 3.0, 7.9])
def test_what_is_smaller_than_the_steps_has_a_place_on_every_map(side: float) -> None:
    corner = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(1)) * (SIDE - side)
    boxes = torch.cat((corner, corner + side), dim=-1)
    made = boxes_around(PLACES, torch.full((len(PLACES), 4), 0.5)).unsqueeze(0)
    shares = torch.full((1, len(PLACES), 1), 0.01)
    for box in boxes[0]:
        found = assign(
            shares,
            made,
            PLACES,
            box.view(1, 1, 4),
            torch.zeros(1, 1, dtype=torch.long),
            torch.ones(1, 1, dtype=torch.bool),
        )
        assert found.answers[0, :FINE].any(), f"nobody answers for {box.tolist()} on the finest map"
        assert found.answers[0, FINE:].any(), "nor on the coarser one"


def test_an_object_that_no_box_touches_yet_has_places() -> None:
    far = torch.tensor([200.0, 200.0, 210.0, 210.0]).expand(1, len(PLACES), 4)
    found = assign(
        torch.rand(1, len(PLACES), 1),
        far,
        PLACES,
        torch.tensor([[[8.0, 8.0, 30.0, 30.0]]]),
        torch.zeros(1, 1, dtype=torch.long),
        torch.ones(1, 1, dtype=torch.bool),
        count=4,
    )
    x, y, _ = PLACES[found.answers[0]].unbind(dim=1)
    assert len(x) == 4
    assert ((x >= 8) & (x <= 30) & (y >= 8) & (y <= 30)).all()
