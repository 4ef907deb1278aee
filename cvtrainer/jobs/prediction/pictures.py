"""Answers drawn on their pictures, as these are in their files, of runs and of packages."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cvtrainer.core.files import write_whole
from cvtrainer.jobs.prediction.writing import told_at
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
        """What stands in the picture, of all readings; of several maps the first."""
        captions, masks = [], []
        objects: list[Mapping[str, Any]] = []
        points: list[tuple[float, float, float]] = []
        for path in answer.below:
            told = told_at(answer.told, path)
            captions += _caption(told, path)
            own = [one for one in _list(told.get("objects")) if one.get("box") is not None]
            shapes = _placed(answer, "masks", path)
            if shapes is not None:
                masks.append(shapes[: len(own)])
            objects += own
            points += [
                (one["x"], one["y"], 2.0 if one.get("score", 1.0) > _SHOWN_SCORE else 0.0)
                for one in _values(told.get("keypoints"))
            ]
        if answer.note is not None:
            return Marks(caption=captions)
        maps = (_placed(answer, "map", path) for path in answer.below)
        return Marks(
            boxes=[one["box"] for one in objects],
            labels=[self._number(one.get("class")) for one in objects],
            tags=[_tag(one) for one in objects],
            points=points,
            mask=next((one for one in maps if one is not None), None),
            masks=np.concatenate(masks) if masks else None,
            caption=captions,
        )

    def _number(self, name: Any) -> int:
        """That of the data's class; a reading's own classes get the next ones."""
        text = str(name)
        if text.isdigit() and text not in self._numbers:
            return int(text)
        return self._numbers.setdefault(text, len(self._numbers))


def _save(shown: Image.Image, path: Path) -> None:
    stream = io.BytesIO()
    shown.save(stream, "PNG")
    write_whole(path, stream.getvalue())


def _placed(answer: Answer, kind: str, path: Sequence[str]) -> Any:
    """The output of that reading that stands in the picture as such."""
    above = "".join(f"{one}_" for one in path)
    names = [name for name, one in answer.places.items() if one == kind and name.startswith(above)]
    # The shortest: another reading's name may begin with this one's.
    name = min(names, key=len, default=None)
    found = answer.outputs.get(name) if name is not None else None
    return None if found is None else np.asarray(found)


def _tag(one: Mapping[str, Any]) -> str:
    score = one.get("score")
    words = str(one.get("class", ""))
    return f"{words} {score:.2f}".strip() if isinstance(score, float) else words


def _caption(told: Mapping[str, Any], path: Sequence[str]) -> list[str]:
    """The answers that have no place in the picture, behind the name of their reading."""
    above = f"{' '.join(path)}: " if path else ""
    return [f"{above}{line}" for line in _lines(told)]


def _lines(told: Mapping[str, Any]) -> list[str]:
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
