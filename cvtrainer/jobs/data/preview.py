"""`cvtrainer data preview`: contact sheets of each split, as stored and as augmented.

Which samples are shown and what the augmentation draws follow from the seed alone.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.files import make_folder, write_whole
from cvtrainer.core.seeds import mix
from cvtrainer.data.opening import open_record
from cvtrainer.data.randomness import DrawKey, generator
from cvtrainer.data.sample import Sample
from cvtrainer.data.survey import Subject
from cvtrainer.data.survey.look import trouble_of
from cvtrainer.data.transforms import Transforms
from cvtrainer.jobs.data.opened import Opened, Request, open_data
from cvtrainer.pictures.drawing import Cell, Lettering, panel, sheet
from cvtrainer.pictures.drawing.panel import label_text, message

PER_SHEET = 24
_MARK = 0x5EE


@dataclass
class Sheets:
    """The files written, and what is worth saying."""

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def preview(
    request: Request,
    *,
    folder: Path,
    count: int = PER_SHEET,
    seed: int | None = None,
    augmented: bool = True,
    cell: int = 240,
) -> Sheets:
    """Write the sheets into that folder."""
    opened = open_data(request).require_all()
    seed = opened.seed if seed is None else seed
    made = Sheets()
    make_folder(folder)
    chosen = {one.split: chosen_rows(len(one), count, seed) for one in opened.subjects}
    letters = "".join(_letters(one, chosen[one.split]) for one in opened.subjects)
    lettering = Lettering(opened.subjects[0].classes, also=letters)
    for subject in opened.subjects:
        drawn = _Drawn(opened, subject, lettering, seed=seed, augmented=augmented, side=cell)
        rows = chosen[subject.split]
        for number, start in enumerate(range(0, len(rows), PER_SHEET), start=1):
            path = folder / f"{subject.split}_{number}.png"
            write_whole(path, drawn.sheet(rows[start : start + PER_SHEET]))
            made.files.append(path)
    if lettering.legend:
        path = folder / "legend.txt"
        lines = [f"{mark}\t{name}" for mark, name in lettering.legend.items()]
        write_whole(path, "\n".join(lines) + "\n")
        made.files.append(path)
        made.notes.append(
            f"no font here has all letters of {len(lettering.legend)} class names: "
            f"the sheets show numbers, {path.name} explains them"
        )
    return made


def chosen_rows(length: int, count: int, seed: int) -> list[int]:
    """The samples that are shown, in rising order: a pure function."""
    if count >= length:
        return list(range(length))
    rng = generator(mix(seed, length, _MARK))
    chosen: list[int] = sorted(rng.choice(length, size=count, replace=False).tolist())
    return chosen


def _letters(subject: Subject, rows: Sequence[int]) -> str:
    """Every letter that the sheets show beside the class names, once."""
    found: set[str] = set()
    for row in rows:
        found.update(Path(subject.file(row)).name)
        if subject.has_parts:
            with suppress(Exception):  # what cannot be read is drawn as such
                text = subject.input(row)
                found.update(text if isinstance(text, str) else "")
    return "".join(sorted(found))


class _Drawn:
    """Draws the samples of one split."""

    def __init__(
        self,
        opened: Opened,
        subject: Subject,
        lettering: Lettering,
        *,
        seed: int,
        augmented: bool,
        side: int,
    ) -> None:
        assert opened.data is not None
        block = opened.blocks[subject.split]
        self._subject = subject
        self._lettering = lettering
        self._seed = seed
        self._side = side
        self._pixels = opened.data.pixels(block)
        self._transforms: Transforms | None = opened.data.transforms(block) if augmented else None

    def sheet(self, rows: Sequence[int]) -> bytes:
        """One sheet as PNG."""
        shown: set[int] = set()
        cells = [self._cell(row, shown) for row in rows]
        after = ", as stored and as augmented" if self._transforms is not None else ""
        paper = sheet(
            cells,
            self._lettering,
            title=f"{self._subject.split}: {len(rows)} of {len(self._subject)} samples{after}",
            legend=sorted(shown),
        )
        stream = io.BytesIO()
        paper.save(stream, "PNG")
        return stream.getvalue()

    def _cell(self, row: int, shown: set[int]) -> Cell:
        name = Path(self._subject.file(row)).name
        panels = []
        label = ""
        for sample in self._stages(row):
            if isinstance(sample, str):
                panels.append(message(sample, self._lettering, self._side))
                continue
            shown.update(_coloured(sample))
            label = label or label_text(sample, self._lettering)
            panels.append(panel(sample, self._lettering, self._side))
        return Cell(tuple(panels), label, f"{row}  {name}")

    def _stages(self, row: int) -> Iterator[Sample | str]:
        """The sample as stored, then as augmented; a text where one cannot be had."""
        wanted = 1 if self._transforms is None else 2
        try:
            sample = open_record(self._subject.record(row), self._pixels)
        except Exception as error:
            yield from [trouble_of(error, self._subject.file(row)).what] * wanted
            return
        yield sample
        if self._transforms is not None:
            try:
                yield self._transforms(copy.deepcopy(sample), DrawKey(self._seed, 1, row))
            except Exception as error:
                yield trouble_of(error, self._subject.file(row)).what


def _coloured(sample: Mapping[str, Any]) -> set[int]:
    """Classes whose colours stand on the picture."""
    target = sample.get("target") or {}
    found: set[int] = set()
    if target.get("box_labels") is not None:
        found.update(np.atleast_1d(target["box_labels"]).astype(int).tolist())
    mask = target.get("mask")
    if isinstance(mask, np.ndarray):
        found.update(int(n) for n in np.unique(mask) if n != 255)
    return found
