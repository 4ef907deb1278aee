"""Samples that an artefact decides otherwise than the trained model: pictures and a page.

Each picture is drawn twice, as the network is given it, once with what the model says and once
with what the artefact says; of arrays there are words alone. The folder lies beside the artefact
and is made anew by each export.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.files import make_folder, write_whole
from cvtrainer.deploy.artefact import remove_artefact
from cvtrainer.deploy.contract import UNPROVEN, read_contract
from cvtrainer.jobs.prediction.inputs import Input
from cvtrainer.jobs.prediction.pictures import Pictures
from cvtrainer.jobs.prediction.predictor import Answer
from cvtrainer.protocols import Outputs, Reading
from cvtrainer.tasks.reading import tells_below
from cvtrainer.telling.reading import WHOLE, Paths

FOLDER = ".differing"
PAGE = "index.html"
_WHO = ("model", "artefact")
_LONGEST = 600
"""Letters of what is told."""


@dataclass(frozen=True)
class Saying:
    """What one of both says of a sample, and its outputs there."""

    told: Mapping[str, Any]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Differing:
    """A sample's name and picture, if it is one, what both say of it, which outputs stand in that,
    and where the tellings of single readings stand."""

    name: str
    pixels: NDArray[Any] | None
    model: Saying
    artefact: Saying
    places: Mapping[str, str]
    below: Paths = WHOLE

    @classmethod
    def of(
        cls,
        sample: tuple[str, NDArray[Any] | None],
        reading: Reading,
        both: tuple[Outputs, Outputs],
        place: int,
        classes: Sequence[str] | None,
    ) -> Differing:
        """A name and a picture, at that place in the outputs of the model and of the artefact."""
        model, artefact = (
            Saying(
                reading.describe(outputs, place, classes),
                {
                    key: value[place].cpu()
                    for key, value in outputs.items()
                    if isinstance(value, Tensor) and value.ndim
                },
            )
            for outputs in both
        )
        places = getattr(reading, "IN_PICTURE", {})
        return cls(*sample, model, artefact, places, tells_below(reading))


def folder_of(artefact: Path) -> Path:
    """Beside it."""
    return artefact.with_name(artefact.name.removesuffix(UNPROVEN) + FOLDER)


def write_differing(artefact: Path, samples: Sequence[Differing], total: int) -> Path | None:
    """The page and its pictures; None, and nothing there, where all are decided alike.

    `total` is how many are decided otherwise; these may be the first of them.
    """
    folder = folder_of(artefact)
    remove_artefact(folder)
    if not samples:
        return None
    make_folder(folder)
    contract = read_contract(artefact)
    pictures = Pictures(folder, contract.classes)
    figures = []
    for number, one in enumerate(samples, 1):
        drawn = [
            None if one.pixels is None else _drawn(pictures, f"{number:02d}_{who}", one, saying)
            for who, saying in zip(_WHO, (one.model, one.artefact), strict=True)
        ]
        figures.append(_figure(one, drawn))
    noun = "sample is" if total == 1 else "samples are"
    title = f"{artefact.name.removesuffix(UNPROVEN)}: {total} {noun} decided otherwise"
    first = f"<p>The first {len(samples)} of them.</p>" if total > len(samples) else ""
    write_whole(folder / PAGE, _page(title, first, figures).encode())
    return folder / PAGE


def _drawn(pictures: Pictures, name: str, one: Differing, saying: Saying) -> Path | None:
    assert one.pixels is not None
    answer = Answer(
        Input(name, one.pixels),
        dict(saying.told),
        dict(saying.outputs),
        one.places,
        below=one.below,
    )
    return pictures.draw(answer, one.pixels)


def _figure(one: Differing, drawn: Sequence[Path | None]) -> str:
    cells = []
    for who, saying, picture in zip(_WHO, (one.model, one.artefact), drawn, strict=True):
        image = f'<img src="{html.escape(picture.name)}" alt="">' if picture else ""
        cells.append(f"<td>{image}<p>{who}: {html.escape(_words(saying.told))}</p></td>")
    return f"<h2>{html.escape(one.name)}</h2>\n<table><tr>{''.join(cells)}</tr></table>"


def _words(told: Mapping[str, Any]) -> str:
    """What is told, short; places are in the picture."""
    text = json.dumps(_rounded(told), ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value


def _page(title: str, first: str, figures: Sequence[str]) -> str:
    style = (
        "body{font:15px sans-serif;margin:2em;max-width:60em}"
        "td{vertical-align:top;padding-right:1.5em;width:50%}"
        "img{max-width:100%}p{overflow-wrap:anywhere}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title><style>{style}</style>\n<h1>{html.escape(title)}</h1>\n{first}\n"
        f"{chr(10).join(figures)}\n</html>\n"
    )
