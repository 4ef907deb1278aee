"""COCO JSON: boxes, polygons, run lengths of both kinds, keypoints, crowds.

The file is parsed once into columns; outlines stay packed until a sample asks for its masks.
Classes are the categories in the order of their ids, whatever gaps those have. Annotations that
cannot be read spoil their picture only; ones of an unknown picture are counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.annotated import AnnotatedPictures, bound_classes
from cvtrainer.data.datasets.reading.coco_files import annotation_file, image_folder_of
from cvtrainer.data.datasets.reading.kept_index import IndexStore, Kept, stamp_of
from cvtrainer.data.datasets.reading.object_table import Fault, ObjectTable
from cvtrainer.data.index import Index
from cvtrainer.data.shapes import extent, pack_segmentation

_CROWD = "crowd"
_LOOK_AT = 20
_Record = Mapping[str, Any]


class Coco(AnnotatedPictures):
    """Detection, instances, segmentation, keypoints, multilabel; classification where each
    picture has one class.

    `data_path` is the JSON file or a folder, where `split` says which of its files. Pictures
    without annotations are samples without objects unless `empty` is false. Crowd regions are in
    no sample unless `crowd` is true. `images` is the folder of pictures where it is not found.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str = "detection",
        split: str | None = None,
        classes: Sequence[str] | None = None,
        images: str | Path | None = None,
        crowd: bool = False,
        empty: bool = True,
        index_dir: str | Path | None = None,
    ) -> None:
        self.annotations = annotation_file(Path(data_path), split, task)
        arguments = {"classes": classes, "empty": empty}
        store = IndexStore(index_dir, self.annotations, {"storage": "coco", **arguments})
        kept = store.find() or self._read(store, classes, empty)
        some = range(0, len(kept.index), max(len(kept.index) // _LOOK_AT, 1))
        names = [str(kept.index.value("path", row)) for row in some]
        super().__init__(
            kept.index,
            root=image_folder_of(self.annotations, Path(data_path), images, names),
            task=task,
            classes=kept.learned["classes"],
            leave_out=() if crowd else (_CROWD,),
            notes=kept.learned["notes"],
        )

    def _read(self, store: IndexStore, classes: Sequence[str] | None, empty: bool) -> Kept:
        stamp = stamp_of(str(self.annotations.absolute()))
        reader = _Reader(self.annotations, classes)
        index = Index.of(reader.table(empty).columns())
        learned = {"classes": list(reader.classes), "notes": reader.notes}
        return store.keep(index, [stamp], learned)


class _Reader:
    """One pass over a parsed file."""

    def __init__(self, file: Path, classes: Sequence[str] | None) -> None:
        self._file = str(file)
        content = _parse(file)
        self._pictures = _records(content, "images", self._file)
        self._annotations: dict[Any, list[_Record]] = {}
        for annotation in _records(content, "annotations", self._file):
            self._annotations.setdefault(_key(annotation, "image_id"), []).append(annotation)
        categories = _records(content, "categories", self._file)
        try:
            categories = sorted(categories, key=lambda record: int(record["id"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("a category has no number as its id", where=self._file) from error
        names = {record["id"]: str(record.get("name", record["id"])) for record in categories}
        if len(set(names.values())) != len(categories):
            raise UserError("two categories have the same id or name", where=self._file)
        present = {_key(a, "category_id") for some in self._annotations.values() for a in some}
        used = [name for key, name in names.items() if key in present]
        self.classes = bound_classes(list(names.values()), used, classes, self._file)
        self._numbers = {k: self.classes.index(n) for k, n in names.items() if n in self.classes}
        self._points = max((len(c.get("keypoints") or ()) for c in categories), default=0)
        self.notes: list[str] = []

    def table(self, empty: bool) -> ObjectTable:
        """The pictures in the file's order with their objects."""
        table = ObjectTable(flags=(_CROWD,), points=self._points)
        seen: set[Any] = set()
        for picture in self._pictures:
            key, name = _key(picture, "id"), picture.get("file_name")
            if key is None or not name or key in seen:
                what = "stands twice" if key in seen else "lacks its id or file_name"
                raise UserError(f"picture {key} {what}", where=self._file)
            seen.add(key)
            annotations = self._annotations.get(key, [])
            if not annotations and not empty:
                continue
            path = str(name).replace("\\", "/")
            table.picture(path, width=picture.get("width"), height=picture.get("height"))
            for annotation in annotations:
                self._add(table, annotation)
        lost = sum(len(some) for key, some in self._annotations.items() if key not in seen)
        if lost and lost == sum(map(len, self._annotations.values())):
            raise UserError(
                "no annotation belongs to a picture of the file",
                where=self._file,
                todo='Write the ids of images and each image_id alike; 1 is not "1".',
            )
        if lost:
            self.notes.append(f"{lost} annotations belong to no picture of the file")
        return table

    def _add(self, table: ObjectTable, annotation: _Record) -> None:
        number = annotation.get("id")
        label = self._numbers.get(_key(annotation, "category_id"))
        if label is None:
            what = f"annotation {number} has the unknown category {annotation.get('category_id')}"
            table.fault(Fault(what, self._file, "label"))
            return
        try:
            given = annotation.get("segmentation")
            shape = pack_segmentation(given) if given else None
            flags = {_CROWD: bool(annotation.get("iscrowd", 0))}
            points = [float(value) for value in annotation.get("keypoints") or ()]
            table.object(_box(annotation, shape), label, flags=flags, shape=shape, keypoints=points)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            table.fault(Fault(f"annotation {number} cannot be read ({error})", self._file))


def _key(record: _Record, name: str) -> Any:
    """A number or text that others refer to; what cannot be one is as good as none."""
    found = record.get(name)
    return found if isinstance(found, int | float | str) else None


def _box(annotation: _Record, shape: bytes | None) -> tuple[float, ...]:
    """The box as xyxy; of a polygon without one, what is around it."""
    given = annotation.get("bbox")
    if given:
        x, y, width, height = (float(value) for value in given)
        return x, y, x + width, y + height
    around = extent(shape) if shape else None
    if around is None:
        raise ValueError("it has no bbox")
    return around


def _parse(file: Path) -> _Record:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UserError("no such annotation file", where=str(file)) from error
    except ValueError as error:
        raise UserError(f"not readable as JSON ({error})", where=str(file)) from error
    if not isinstance(content, Mapping):
        raise UserError("not a COCO file: it holds no object", where=str(file))
    return content


def _records(content: _Record, name: str, where: str) -> list[_Record]:
    found = content.get(name)
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise UserError(
            f"not a COCO file: it has no list {name!r}",
            where=where,
            todo="A COCO file has images, annotations and categories.",
        )
    return found
