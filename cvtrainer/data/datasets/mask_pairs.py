"""Pictures and class masks in two folders, matched by name.

`values` says what the numbers in the mask files mean (`{1: pet, 2: background}`), `ignore` which
of them mean nothing and become 255. Without it the numbers are the classes' own; where no class is
named either, every mask is read once at the start to learn the numbers. Other numbers make a bad
sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.mask_files import mask_layout
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode import decode_mask, read_mask
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample
from cvtrainer.data.shapes import Mask

IGNORED = 255
"""The number in a sample's mask that says: no class is known here."""

_STRANGE = 254
_LEARNED = ("background", "foreground")


class MaskPairs(StoredDataset):
    """Segmentation; `classes` in the order of the file's numbers unless given.

    `images` and `masks` are folders, found by their usual names where left out; both may be
    patterns with `{stem}`. `split` is a folder in or around both, or a list of names. Pictures
    without mask and masks without picture are left out and counted.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str = "segmentation",
        split: str | None = None,
        classes: Sequence[str] | None = None,
        images: str | None = None,
        masks: str | None = None,
        values: Mapping[Any, str] | None = None,
        ignore: int | Sequence[int] = IGNORED,
    ) -> None:
        root = Path(data_path)
        layout = mask_layout(root, images, masks, split)
        ignored = [ignore] if isinstance(ignore, int) else [int(value) for value in ignore]
        if values is not None:
            meaning = _as_numbers(values, str(root))
        elif classes is not None and not _learned_names(classes):
            meaning = dict(enumerate(str(name) for name in classes))
        else:
            whole = layout if split is None else mask_layout(root, images, masks, None)
            meaning = _learn([root / mask for mask in whole.masks], ignored, str(root))
        names = _class_order(meaning, classes, str(root))
        self.left_out = layout.alone
        """Pictures without a mask and masks without a picture."""
        self.notes: tuple[str, ...] = ()
        """What is left out and why, one sentence each."""
        if layout.alone:
            self.notes = (
                f"{len(layout.alone)} pictures or masks have no partner and are left out",
            )
        self.evidence = self.notes
        self._table = _lookup(meaning, names, ignored)
        index = Index.of({"path": layout.pictures, "mask": layout.masks})
        super().__init__(index, root=root, task=task, classes=names)

    def field(self, name: str, row: int) -> Any:
        """A target field of that row; a mask comes as class numbers."""
        if name != "mask":
            return super().field(name, row)
        file = self.encoded("mask", row, "mask")
        try:
            values = decode_mask(file.read(), file.name)
        except OSError as error:
            raise BadSample(str(error), kind="unreadable", where=file.name) from error
        mask: Mask = self._table[values]
        if _STRANGE in mask:
            strange = int(values[mask == _STRANGE][0])
            raise BadSample(
                f"the mask has the number {strange}, which is no class",
                kind="label",
                where=file.name,
                todo="Correct the mask, or name the number in `values` or `ignore`.",
            )
        return mask


def _as_numbers(values: Mapping[Any, str], where: str) -> dict[int, str]:
    try:
        meaning = {int(value): str(name) for value, name in values.items()}
    except ValueError as error:
        raise UserError(f"`values` has a key that is no number: {error}", where=where) from error
    wrong = [value for value in meaning if not 0 <= value <= 255]
    if wrong:
        raise UserError(f"`values` has {wrong[0]}, but a mask holds 0 to 255", where=where)
    return dict(sorted(meaning.items()))


def _learned_names(classes: Sequence[str]) -> bool:
    """Whether these are names that `_learn` gives: then the numbers in the files are needed."""
    return tuple(classes) == _LEARNED or all(str(name).isdigit() for name in classes)


def _learn(files: Sequence[Path], ignored: Sequence[int], where: str) -> dict[int, str]:
    """The numbers in all masks; two of them are background and foreground, others are names."""
    counts = np.zeros(256, dtype=np.int64)
    reason = ""
    for file in files:
        try:
            counts += np.bincount(read_mask(file).ravel(), minlength=256)
        except (BadSample, OSError) as error:
            reason = reason or f"; {error}"
    found = np.flatnonzero(counts).tolist()
    if len(found) == 2 and found[0] == 0 and found[1] in (1, 255):
        return dict(zip(found, _LEARNED, strict=True))
    meaning = {value: str(value) for value in found if value not in ignored}
    if not meaning:
        raise UserError(f"no mask can be read{reason}", where=where)
    return meaning


def _class_order(
    meaning: Mapping[int, str], classes: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(meaning.values()))
    names = found if classes is None else tuple(str(name) for name in classes)
    if len(set(names)) != len(names):
        raise UserError("`classes` names a class twice", where=where)
    if len(names) > _STRANGE:
        raise UserError(f"{len(names)} classes do not fit into a mask of bytes", where=where)
    strangers = [name for name in found if name not in names]
    if strangers:
        raise UserError(
            f"class {strangers[0]} is not among the {len(names)} known classes",
            where=where,
            todo="Name it in `classes`, or its number in `ignore`.",
        )
    return names


def _lookup(meaning: Mapping[int, str], names: Sequence[str], ignored: Sequence[int]) -> Mask:
    """Class number of each of the 256 numbers that a file may have."""
    table = np.full(256, _STRANGE, dtype=np.uint8)
    for value in ignored:
        table[value] = IGNORED
    for value, name in meaning.items():
        table[value] = names.index(name)
    return table
