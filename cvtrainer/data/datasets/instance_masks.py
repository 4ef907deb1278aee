"""A folder per picture: `<name>/images/*.png`, and `<name>/masks/*.png` with one object each.

What is not black belongs to the object, and the box is what is around it. The number of masks is a
value to learn, which needs no mask to be read. A mask without a pixel is no object.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.annotated import BACKGROUND
from cvtrainer.data.datasets.reading.labelled_files import files_below, is_hidden
from cvtrainer.data.datasets.reading.object_table import ragged
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode import IMAGE_EXTENSIONS, decode_mask, read_size
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.index import Index, Numbers
from cvtrainer.data.sample import BadSample, Sample
from cvtrainer.data.shapes import Mask

_OBJECT_FIELDS = ("boxes", "box_labels", "masks", "mask")


class InstanceMasks(StoredDataset):
    """Instances, detection, segmentation (all objects in one mask), regression (how many).

    All objects are of one class, `object` unless `classes` names it. `split` is a folder inside.
    Folders without a picture or with several are left out and counted.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str = "instances",
        split: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        root = Path(data_path) / (split or "")
        if not root.is_dir():
            raise UserError("no such data folder", where=str(root))
        paths, masks, self.left_out = _collect(root)
        if not paths:
            raise UserError(
                "no folder has a picture in `images` and masks in `masks`", where=str(root)
            )
        self.notes: tuple[str, ...] = ()
        """What is left out and why, one sentence each."""
        if self.left_out:
            self.notes = (f"{len(self.left_out)} folders have not one picture and are left out",)
        self.evidence = self.notes
        ends = np.cumsum([0, *(len(some) for some in masks)])
        flat = [mask for some in masks for mask in some]
        index = Index.of(
            {
                "path": paths,
                "object_masks": ragged(ends, pa.array(flat, type=pa.large_string())),
                "value": np.diff(ends).astype(np.float64),
            }
        )
        names = _class_names(classes, task, str(root))
        possible = [*index.names, *_OBJECT_FIELDS]
        super().__init__(index, root=root, task=task, classes=names, possible=possible)

    def _load_sample(self, idx: int) -> Sample:
        sample = super()._load_sample(idx)
        if not set(self.fields) & set(_OBJECT_FIELDS):
            return sample
        stack = self._stack(idx)
        rows: Numbers = np.asarray(stack.any(axis=2))
        columns: Numbers = np.asarray(stack.any(axis=1))
        kept: Numbers = np.asarray(rows.any(axis=1))
        made = {
            "boxes": _boxes(rows[kept], columns[kept]),
            "box_labels": np.zeros(np.count_nonzero(kept), dtype=np.int64),
            "masks": stack[kept],
            "mask": np.asarray(stack.any(axis=0), dtype=np.uint8),
        }
        sample["target"] = {name: made[name] for name in self.fields}
        return sample

    def field(self, name: str, row: int) -> Any:
        """A target field of that row; those of the objects are made together."""
        return None if name in _OBJECT_FIELDS else super().field(name, row)

    def mask_files(self, row: int) -> list[str]:
        """The mask files of that row."""
        return [str(self.root / path) for path in self.index.value("object_masks", row)]

    def _stack(self, row: int) -> Mask:
        planes: list[Mask] = []
        for path in self.mask_files(row):
            try:
                plane = decode_mask(Encoded(path, "mask").read(), path)
            except OSError as error:
                raise BadSample(str(error), kind="unreadable", where=path) from error
            if planes and plane.shape != planes[0].shape:
                (height, width), (high, wide) = plane.shape, planes[0].shape
                raise BadSample(
                    f"the mask is {width}x{height}, but the first one {wide}x{high}",
                    kind="size",
                    where=path,
                )
            planes.append((plane > 0).astype(np.uint8))
        size = planes[0].shape if planes else self._picture_size(row)
        stack = np.zeros((len(planes), *size), dtype=np.uint8)
        for place, plane in enumerate(planes):
            stack[place] = plane
        picture = self._picture_size(row)
        if size != picture:
            raise BadSample(
                f"the masks are {size[1]}x{size[0]}, but the picture {picture[1]}x{picture[0]}",
                kind="size",
                where=self.file(row),
            )
        return stack

    def _picture_size(self, row: int) -> tuple[int, int]:
        path = self.file(row)
        try:
            return read_size(path)
        except BadSample:
            raise
        except (UserError, OSError) as error:
            raise BadSample(
                f"the picture cannot be read ({error})", kind="unreadable", where=path
            ) from error


def is_instance_folder(folder: Path) -> bool:
    """Whether that folder has a picture in `images` and a folder `masks`."""
    if not (folder / "masks").is_dir() or not (folder / "images").is_dir():
        return False
    return len(list(files_below(folder / "images", IMAGE_EXTENSIONS))) == 1


def _collect(root: Path) -> tuple[list[str], list[list[str]], tuple[str, ...]]:
    paths: list[str] = []
    masks: list[list[str]] = []
    left_out: list[str] = []
    for name in sorted(e.name for e in os.scandir(root) if e.is_dir() and not is_hidden(e.name)):
        if not (root / name / "images").is_dir() and not (root / name / "masks").is_dir():
            continue
        if not is_instance_folder(root / name):
            left_out.append(name)
            continue
        (picture,) = files_below(root / name / "images", IMAGE_EXTENSIONS)
        paths.append(f"{name}/images/{picture}")
        found = files_below(root / name / "masks", IMAGE_EXTENSIONS)
        masks.append([f"{name}/masks/{mask}" for mask in found])
    return paths, masks, tuple(left_out)


def _class_names(classes: Sequence[str] | None, task: str, where: str) -> tuple[str, ...]:
    names = ["object"] if classes is None else [str(name) for name in classes]
    if names[:1] == [BACKGROUND]:
        names = names[1:]
    if len(names) != 1:
        raise UserError(
            f"{len(names)} classes, but the masks do not say which is which",
            where=where,
            todo="Name one class.",
        )
    return (BACKGROUND, *names) if task == "segmentation" else tuple(names)


def _boxes(rows: Numbers, columns: Numbers) -> Numbers:
    """Boxes around what is set, out of which rows and columns have a pixel."""
    height, width = rows.shape[1], columns.shape[1]
    left, top = columns.argmax(axis=1), rows.argmax(axis=1)
    right = width - columns[:, ::-1].argmax(axis=1)
    bottom = height - rows[:, ::-1].argmax(axis=1)
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32)
