"""Pictures with objects in them: what COCO, Pascal VOC and YOLO have in common.

The index holds every box as the files have it. A sample gets those that have an area; the others
stay visible through `raw_boxes` and are counted in `notes`. Masks are painted when asked for.
Class masks have 0 for the background and class number k + 1 for objects of class k; large boxes
are painted first, so that what is small stays visible, and of equal ones the later lies on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode import read_size
from cvtrainer.data.index import Index, Numbers
from cvtrainer.data.sample import BadSample
from cvtrainer.data.shapes import Mask, paint

BACKGROUND = "background"
_MOST_MASK_CLASSES = 254
_OBJECT_FIELDS = ("boxes", "box_labels", "class_ids")


class AnnotatedPictures(StoredDataset):
    """Boxes, outlines and keypoints of an index that `ObjectTable` filled.

    `leave_out` names flags (`crowd`, `difficult`); objects that have one are not in the samples.
    `normalised` says that coordinates are shares of the picture's sides.
    """

    def __init__(
        self,
        index: Index,
        *,
        root: str | Path,
        task: str,
        classes: Sequence[str],
        leave_out: Sequence[str] = (),
        normalised: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self._leave_out = tuple(f"box_{name}" for name in leave_out)
        self._normalised = normalised
        self._said = tuple(notes)
        possible = [*index.names, *_OBJECT_FIELDS]
        possible += ["mask", "masks"] if "shapes" in index else []
        names = mask_classes(classes, str(root)) if task == "segmentation" else tuple(classes)
        super().__init__(index, root=root, task=task, classes=names, possible=possible)
        if task == "keypoints":
            self.fields = ("keypoints", "boxes", "box_labels")
        self._object_classes = len(classes)
        self.evidence = self.notes

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out and why, one sentence each."""
        boxes = np.asarray(self.index.column("boxes").combine_chunks().flatten(), dtype=np.float32)
        without = int((~has_area(boxes.reshape(-1, 4))).sum())
        faults = 0
        if "fault_what" in self.index:
            column = self.index.column("fault_what")
            faults = len(column) - column.null_count
        found = list(self._said)
        if without:
            found.append(f"{without} boxes without an area are left out")
        if faults:
            found.append(f"the annotations of {faults} pictures cannot be used")
        return tuple(found)

    def raw_boxes(self, row: int) -> tuple[Numbers, Numbers]:
        """All boxes of that row in pixels, xyxy, as the files have them, and their classes."""
        self._refuse_fault(row)
        boxes = np.asarray(self.index.value("boxes", row), dtype=np.float32).reshape(-1, 4)
        if self._normalised and len(boxes):
            width, height = self._scale(row)
            boxes = boxes * np.array([width, height] * 2, dtype=np.float32)
        return boxes, np.asarray(self.index.value("box_labels", row), dtype=np.int64)

    def field(self, name: str, row: int) -> Any:
        """A target field of that row."""
        if name == "mask":
            return self._class_mask(row)
        if name == "class_id":
            self._refuse_fault(row)
            return super().field(name, row)
        boxes, labels = self.raw_boxes(row)
        if name == "class_ids":
            return self._known(np.unique(labels), row)
        kept = self._kept(boxes, row)
        if name == "boxes":
            return boxes[kept]
        if name == "box_labels":
            return self._known(labels[kept], row)
        if name == "masks":
            return self._stack(row, kept)
        points = self._keypoints(row, len(boxes))[kept].reshape(-1, 3)
        if self._normalised and len(points):
            points = points * np.array([*self._scale(row), 1], dtype=np.float32)
        return points

    def _kept(self, boxes: Numbers, row: int) -> Numbers:
        """Numbers of the objects that the sample of this task has."""
        good = has_area(boxes)
        for flag in self._leave_out:
            good &= np.asarray(self.index.value(flag, row)) == 0
        if self.task == "keypoints":
            good &= (self._keypoints(row, len(boxes))[:, :, 2] > 0).any(axis=1)
        if "masks" in self.fields or "mask" in self.fields:
            shapes = self.index.value("shapes", row)
            good &= np.array([shape is not None for shape in shapes], dtype=bool)
        return np.flatnonzero(good)

    def _keypoints(self, row: int, count: int) -> Numbers:
        values = np.asarray(self.index.value("keypoints", row), dtype=np.float32)
        return values.reshape(count, -1, 3) if count else values.reshape(0, 0, 3)

    def _stack(self, row: int, kept: Numbers) -> Mask:
        height, width = self.size(row)
        stack = np.zeros((len(kept), height, width), dtype=np.uint8)
        shapes = self.index.value("shapes", row)
        for place, number in enumerate(kept.tolist()):
            stack[place] = self._paint(shapes[number], row, height, width)
        return stack

    def _class_mask(self, row: int) -> Mask:
        boxes, labels = self.raw_boxes(row)
        kept = self._kept(boxes, row)
        self._known(labels[kept], row)
        height, width = self.size(row)
        mask = np.zeros((height, width), dtype=np.uint8)
        sides = boxes[kept, 2:] - boxes[kept, :2]
        order = kept[np.argsort(-sides.prod(axis=1), kind="stable")]
        shapes = self.index.value("shapes", row)
        for number in order.tolist():
            mask[self._paint(shapes[number], row, height, width) > 0] = labels[number] + 1
        return mask

    def _paint(self, shape: bytes, row: int, height: int, width: int) -> Mask:
        scale = (float(width), float(height)) if self._normalised else (1.0, 1.0)
        try:
            return paint(shape, height, width, scale)
        except ValueError as error:
            raise BadSample(str(error), kind="annotation", where=self.file(row)) from error

    def size(self, row: int) -> tuple[int, int]:
        """Height and width of that picture: as annotated, or from the head of its file."""
        if "width" in self.index and "height" in self.index:
            height, width = self.index.value("height", row), self.index.value("width", row)
            if height is not None and width is not None:
                return height, width
        path = self.file(row)
        try:
            return read_size(path)
        except BadSample:
            raise
        except (UserError, OSError) as error:
            what = error.what if isinstance(error, UserError) else str(error)
            raise BadSample(what, kind="unreadable", where=path) from error

    def _scale(self, row: int) -> tuple[int, int]:
        height, width = self.size(row)
        return width, height

    def _known(self, labels: Numbers, row: int) -> Numbers:
        wrong = labels[(labels < 0) | (labels >= self._object_classes)]
        if len(wrong):
            raise BadSample(
                f"class number {wrong[0]} is outside of the {self._object_classes} classes",
                kind="label",
                where=self.file(row),
                todo="Correct the label.",
            )
        return labels

    def _refuse_fault(self, row: int) -> None:
        if "fault_what" not in self.index:
            return
        what = self.index.value("fault_what", row)
        if what is not None:
            kind, where = self.index.value("fault_kind", row), self.index.value("fault_file", row)
            raise BadSample(what, kind=kind, where=where, todo="Correct or remove it.")


def mask_classes(classes: Sequence[str], where: str) -> tuple[str, ...]:
    """The classes of a class mask: the background before those of the objects."""
    if len(classes) > _MOST_MASK_CLASSES:
        raise UserError(f"{len(classes)} classes do not fit into a mask of bytes", where=where)
    return (BACKGROUND, *classes)


def bound_classes(
    found: Sequence[str], used: Sequence[str], classes: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    """The objects' classes in the order of their numbers: as found, or as given.

    Given ones may begin with the background, as those of a data set of class masks do.
    """
    if classes is None:
        return tuple(found)
    names = [str(name) for name in classes]
    if names[:1] == [BACKGROUND] and BACKGROUND not in used:
        names = names[1:]
    if len(set(names)) != len(names):
        raise UserError("`classes` names a class twice", where=where)
    strangers = [name for name in used if name not in names]
    if strangers:
        raise UserError(
            f"class {strangers[0]} is not among the {len(names)} known classes",
            where=where,
            todo="Train with this class, or take its objects out of the annotations.",
        )
    return tuple(names)


def has_area(boxes: Numbers) -> Numbers:
    """Which boxes have one; those with a side that is no number have none."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(np.isfinite(boxes).all(axis=1) & (sides > 0).all(axis=1))
