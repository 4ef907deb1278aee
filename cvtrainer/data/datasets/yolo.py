"""YOLO: a text file of shares of the picture's sides per picture, and a data.yaml.

A label file lies where the picture does, with `labels` in place of the last folder `images`. One
that is missing means a picture of the background. A line that cannot be read spoils its picture
only, and the reason says which line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cvtrainer.data.datasets.annotated import AnnotatedPictures, bound_classes
from cvtrainer.data.datasets.reading.object_table import Fault, ObjectTable
from cvtrainer.data.datasets.reading.yolo_files import YoloFiles, label_file
from cvtrainer.data.index import Index
from cvtrainer.data.shapes import pack_polygons

_TOLERANCE = 0.01


class Yolo(AnnotatedPictures):
    """Detection, multilabel; instances and segmentation from polygons; keypoints with `kpt_shape`.

    `data_path` is the data.yaml, or the folder that has one. A folder with `images` and `labels`
    alone will do where `classes` or a `classes.txt` names the classes. `split` is a word of the
    data.yaml; without it all its pictures are taken, each once. Numbers up to 1 % outside of 0..1
    are rounding and are cut.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str = "detection",
        split: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.files = YoloFiles(Path(data_path), classes)
        names = self.files.names
        bound = bound_classes(names, names, classes, str(data_path))
        numbers = {k: bound.index(name) for k, name in enumerate(names)}
        reader = _Lines(numbers, self.files.keypoint_shape)
        table = ObjectTable(points=self.files.keypoint_shape[0])
        without = 0
        for picture in self.files.pictures(split):
            table.picture(picture)
            without += not reader.add(table, label_file(picture))
        notes = [f"{without} pictures have no label file: background"] if without else []
        super().__init__(
            Index.of(table.columns()),
            root=self.files.root,
            task=task,
            classes=bound,
            normalised=True,
            notes=notes,
        )


class _Object(NamedTuple):
    label: int
    box: tuple[float, float, float, float]
    shape: bytes | None = None
    keypoints: tuple[float, ...] = ()


class _Lines:
    """Reads the lines of label files: boxes, polygons, or boxes with keypoints."""

    def __init__(self, numbers: dict[int, int], keypoint_shape: tuple[int, int]) -> None:
        self._numbers = numbers
        self._points, self._parts = keypoint_shape

    def add(self, table: ObjectTable, path: Path) -> bool:
        """Put the objects of that file into the table; False where there is no file."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            table.fault(Fault(f"the label file cannot be read ({error})", str(path)))
            return True
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            try:
                found = self._object(words)
            except _UnknownClassError as error:
                table.fault(Fault(f"line {number}: {error}", str(path), "label"))
            except ValueError as error:
                table.fault(Fault(f"line {number}: {error}", str(path)))
            else:
                table.object(found.box, found.label, shape=found.shape, keypoints=found.keypoints)
        return True

    def _object(self, words: Sequence[str]) -> _Object:
        values = [float(word) for word in words]
        if values[0] not in self._numbers:
            known = len(self._numbers)
            raise _UnknownClassError(f"class {words[0]} is none of the {known} classes")
        label = self._numbers[int(values[0])]
        if self._points:
            return self._with_keypoints(label, values[1:])
        if len(values) == 5:
            return _Object(label, _box(values[1:]))
        if len(values) < 7 or len(values) % 2 == 0:
            raise ValueError(f"{len(values)} numbers are neither a box nor a polygon")
        points = [_share(value) for value in values[1:]]
        across, down = points[::2], points[1::2]
        around = (min(across), min(down), max(across), max(down))
        return _Object(label, around, pack_polygons([points]))

    def _with_keypoints(self, label: int, values: Sequence[float]) -> _Object:
        wanted = 4 + self._points * self._parts
        if len(values) != wanted:
            raise ValueError(f"{len(values) + 1} numbers, but kpt_shape needs {wanted + 1}")
        points: list[float] = []
        for k in range(4, wanted, self._parts):
            x, y = _share(values[k]), _share(values[k + 1])
            seen = values[k + 2] if self._parts == 3 else 2.0 * ((x, y) != (0.0, 0.0))
            points += [x, y, seen]
        return _Object(label, _box(values[:4]), keypoints=tuple(points))


class _UnknownClassError(ValueError):
    """A class number that no name belongs to."""


def _box(values: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = (_share(value) for value in values)
    left, right = (min(max(side, 0.0), 1.0) for side in (x - width / 2, x + width / 2))
    top, bottom = (min(max(side, 0.0), 1.0) for side in (y - height / 2, y + height / 2))
    return left, top, right, bottom


def _share(value: float) -> float:
    """A share of a side; NaN fails the comparison and is refused too."""
    if not -_TOLERANCE <= value <= 1 + _TOLERANCE:
        raise ValueError(f"{value:g} is not within 0..1")
    return min(max(value, 0.0), 1.0)
