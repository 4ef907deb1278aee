"""Chooses the borders at which the run is killed: spread over it, of every kind there is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cvtrainer.jobs.verify_resume.compare import Record
from cvtrainer.jobs.verify_resume.orders import Border, records_of


@dataclass(frozen=True)
class Kill:
    """Where a checkpoint is made, and how many batches later the process dies."""

    border: Border
    kind: str
    closed: bool = False
    more_batches: int = 0

    def __str__(self) -> str:
        stage, epoch, batch, _ = self.border
        place = f"epoch {epoch}" if self.closed else f"batch {batch} of epoch {epoch}"
        later = f", killed {self.more_batches} later" if self.more_batches else ""
        return f"after {place}, stage {stage} ({self.kind}{later})"


def choose_kills(straight: Sequence[Record], count: int, seed: int) -> list[Kill]:
    """In the order of the run; the first ones show the kinds that are rare."""
    candidates = _candidates(straight)
    draw = random.Random(seed)
    kinds = list(dict.fromkeys(kill.kind for kill in candidates))
    kinds.sort(key=_RARE.index)
    chosen: list[Kill] = []
    for kind in kinds[:count]:
        chosen.append(draw.choice([kill for kill in candidates if kill.kind == kind]))
    rest = [kill for kill in candidates if kill not in chosen]
    part = len(rest) / max(1, count - len(chosen))
    for number in range(count - len(chosen)):
        share = rest[int(number * part) : int((number + 1) * part)]
        if share:
            chosen.append(draw.choice(share))
    places = {kill: place for place, kill in enumerate(candidates)}
    chosen.sort(key=places.__getitem__)
    return [
        Kill(kill.border, kill.kind, kill.closed, more_batches=number % 2)
        for number, kill in enumerate(chosen)
    ]


_RARE = [
    "in the middle of a step",
    "in the middle of an epoch",
    "after an epoch",
    "before the end of an epoch",
    "after a stage",
]


def _candidates(straight: Sequence[Record]) -> list[Kill]:
    found: list[Kill] = []
    stages = records_of(straight, "stage")
    length = {one["stage"]: one["per_epoch"] for one in stages}
    for record in records_of(straight, "border"):
        border = Border.of(record["border"])
        if border.end:
            if stages[-1]["stage"] != border.stage:
                found.append(Kill(_plain(border), "after a stage", closed=True))
            continue
        if border.batch == 0:
            if border.epoch > 1:
                before = Border(border.stage, border.epoch - 1, length[border.stage])
                found.append(Kill(before, "after an epoch", closed=True))
        elif record["in_group"]:
            found.append(Kill(border, "in the middle of a step"))
        elif border.batch == length[border.stage]:
            found.append(Kill(border, "before the end of an epoch"))
        else:
            found.append(Kill(border, "in the middle of an epoch"))
    return found


def _plain(border: Border) -> Border:
    return Border(border.stage, border.epoch, border.batch)
