"""Answers drawn on their pictures, as these are in their files, of runs and of packages."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cvtrainer.core.files import write_whole
from cvtrainer.pictures.drawing import Lettering, Marks, answered

if TYPE_CHECKING:
    from cvtrainer.deploy.package.model import Answer as PackageAnswer
    from cvtrainer.jobs.prediction.predictor import Answer as RunAnswer

    Answer = RunAnswer | PackageAnswer

_SHOWN_SCORE = 0.0


class Pictures:
    """Writes a PNG per answer into a folder, named like its input."""

    def __init__(self, folder: Path, classes: Sequence[str] | None) -> None:
        self.folder = folder
        self._numbers = {name: number for number, name in enumerate(classes or ())}
        self._lettering = Lettering(classes or ())
        self._taken: set[str] = set()

    def draw(self, answer: Answer, pixels: Any) -> Path:
        """The file written, of the input's own pixels."""
        shown = answered(pixels, self._marks(answer), self._lettering)
        path = self.folder / f"{self._free(answer.input.name)}.png"
        _save(shown, path)
        return path

    def write(self, answer: RunAnswer) -> int:
        """The pictures that the network made, in the pixels that it gave; how many files."""
        several = len(answer.pictures) > 1
        for name in answer.pictures:
            pixels = answer.outputs[name].float().clamp(0, 1).mul(255).round().byte()
            shown = Image.fromarray(pixels.movedim(0, -1).squeeze(-1).contiguous().numpy())
            stem = self._free(
                f"{Path(answer.input.name).stem}_{name}" if several else answer.input.name
            )
            _save(shown, self.folder / f"{stem}.png")
        return len(answer.pictures)

    def _free(self, name: str) -> str:
        """The input's own name, with a number where another had it."""
        stem = Path(name).stem or "input"
        free, number = stem, 2
        while free in self._taken:
            free, number = f"{stem}_{number}", number + 1
        self._taken.add(free)
        return free

    def _marks(self, answer: Answer) -> Marks:
        told = answer.told
        if answer.note is not None:
            return Marks(caption=_caption(told))
        objects = [one for one in _list(told.get("objects")) if one.get("box") is not None]
        points = [
            (one["x"], one["y"], 2.0 if one.get("score", 1.0) > _SHOWN_SCORE else 0.0)
            for one in _values(told.get("keypoints"))
        ]
        return Marks(
            boxes=[one["box"] for one in objects],
            labels=[self._number(one.get("class")) for one in objects],
            tags=[_tag(one) for one in objects],
            points=points,
            mask=_placed(answer, "map"),
            masks=_masks(answer, len(objects)),
            caption=_caption(told),
        )

    def _number(self, name: Any) -> int:
        found = self._numbers.get(str(name))
        return found if found is not None else int(name) if str(name).isdigit() else 0


def _save(shown: Image.Image, path: Path) -> None:
    stream = io.BytesIO()
    shown.save(stream, "PNG")
    write_whole(path, stream.getvalue())


def _placed(answer: Answer, kind: str) -> Any:
    name = next((name for name, one in answer.places.items() if one == kind), None)
    found = answer.outputs.get(name) if name is not None else None
    return None if found is None else np.asarray(found)


def _masks(answer: Answer, count: int) -> Any:
    """Those of the objects that are told, which are the first."""
    found = _placed(answer, "masks")
    return None if found is None else found[:count]


def _tag(one: Mapping[str, Any]) -> str:
    score = one.get("score")
    words = str(one.get("class", ""))
    return f"{words} {score:.2f}".strip() if isinstance(score, float) else words


def _caption(told: Mapping[str, Any]) -> list[str]:
    """The answers that have no place in the picture."""
    if "probability" in told:
        return [f"{told.get('class')} {told['probability']:.3f}"]
    if "classes" in told:
        return [", ".join(f"{one['class']} {one['probability']:.3f}" for one in told["classes"])]
    lines = []
    for name, value in told.items():
        if isinstance(value, int | float | str):
            lines.append(f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}")
        elif name == "shares":
            lines.append(", ".join(f"{one} {share:.1%}" for one, share in value.items()))
    return lines


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []
