"""What the doctor says: one line with an id, a severity, the split, the row and the file.

The ids and their severities stand in one table, so that a report can be read by machines and a
document can list them; a check may lower a severity where the case is milder.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


class Severity(enum.Enum):
    """Errors spoil training or its figures; warnings are worth a look; notes are facts."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

CHECKS: Mapping[str, tuple[Severity, str]] = MappingProxyType(
    {
        "unusable": (ERROR, "the data set cannot be opened"),
        "missing-file": (ERROR, "a file that the data names is not there"),
        "empty-file": (ERROR, "a file holds no bytes"),
        "unreadable": (ERROR, "a file cannot be decoded"),
        "truncated": (ERROR, "a file ends too early"),
        "bomb": (ERROR, "a picture of monstrous size"),
        "wrong-extension": (WARNING, "a file's name says another format than its content"),
        "animated": (NOTE, "a file of several pictures, of which the first counts"),
        "exif-orientation": (NOTE, "pictures that are turned upright by their EXIF"),
        "deep-colour": (NOTE, "more than eight bits for a colour"),
        "cmyk": (NOTE, "printing colours"),
        "alpha": (NOTE, "transparent pixels, laid on white"),
        "annotated-size": (ERROR, "a picture of another size than its annotation says"),
        "exif-annotation": (ERROR, "annotated lying on its side: EXIF turns the picture"),
        "constant-image": (WARNING, "a picture of one colour"),
        "tiny-image": (WARNING, "a picture far smaller than the others"),
        "size-outlier": (WARNING, "a picture far larger than the others"),
        "aspect-outlier": (NOTE, "a picture far longer or narrower than the others"),
        "grey-among-colour": (NOTE, "grey pictures among coloured ones"),
        "label-range": (ERROR, "a class number outside of the classes"),
        "missing-annotation": (ERROR, "a sample without its annotation"),
        "left-out": (WARNING, "pictures in no sample, because they have no annotation"),
        "set-note": (NOTE, "what the data set says of itself"),
        "missing-value": (ERROR, "a sample without a number that it needs"),
        "bad-annotation": (ERROR, "an annotation that cannot be read"),
        "no-labels": (NOTE, "a sample of no class"),
        "repeated-label": (WARNING, "the same class twice on one sample"),
        "label-conflict": (ERROR, "the same input under two labels"),
        "class-missing": (WARNING, "a class of training that a split lacks"),
        "unused-class": (WARNING, "a class without any sample"),
        "imbalance": (NOTE, "classes of very unequal size"),
        "box-not-finite": (ERROR, "a box that is no number"),
        "box-inverted": (ERROR, "a box whose right is left of its left"),
        "box-zero-area": (ERROR, "a box without area"),
        "box-outside": (WARNING, "a box that leaves its picture"),
        "box-tiny": (WARNING, "a box of less than a pixel"),
        "box-duplicate": (WARNING, "the same box twice"),
        "box-labels": (ERROR, "boxes and labels of unequal number"),
        "box-count": (WARNING, "far more boxes than on other pictures"),
        "no-boxes": (NOTE, "pictures without boxes"),
        "mask-unreadable": (ERROR, "a mask that cannot be decoded"),
        "mask-missing": (ERROR, "a mask file that is not there"),
        "mask-size": (ERROR, "a mask of another size than its picture"),
        "mask-values": (ERROR, "mask values that are no class"),
        "mask-one-class": (WARNING, "a mask that is one class all over"),
        "instance-empty": (ERROR, "an object's mask without pixels"),
        "instance-overlap": (WARNING, "objects' masks that cover each other"),
        "instance-count": (ERROR, "masks, boxes and labels of unequal number"),
        "keypoint-not-finite": (ERROR, "a keypoint that is no number"),
        "keypoint-outside": (WARNING, "a visible keypoint outside of its picture"),
        "keypoint-flag": (ERROR, "a visibility that is not 0, 1 or 2"),
        "keypoint-count": (ERROR, "another number of keypoints than elsewhere"),
        "value-not-finite": (ERROR, "a target that is no number"),
        "value-outlier": (WARNING, "a target far from all others"),
        "sound-silent": (WARNING, "a sound of one value all along"),
        "sound-clipped": (WARNING, "a sound that is cut off at its peaks"),
        "sound-rate": (WARNING, "another sample rate than elsewhere"),
        "sound-length": (WARNING, "a sound far shorter or longer than the others"),
        "not-finite": (ERROR, "missing or infinite values in the input"),
        "series-constant": (WARNING, "a series or channel of one value"),
        "series-length": (NOTE, "a series far shorter or longer than the others"),
        "text-empty": (ERROR, "a text without words"),
        "text-damaged": (WARNING, "a text with characters lost to a wrong encoding"),
        "duplicate": (WARNING, "the same input twice in a split"),
        "near-duplicate": (WARNING, "the same picture twice, resized, recompressed or cropped"),
        "leak": (ERROR, "the same input in two splits"),
        "near-leak": (ERROR, "the same picture in two splits, resized, recompressed or cropped"),
        "group-leak": (ERROR, "a group with samples in two splits"),
        "unreferenced": (WARNING, "a file beside the data's files that no sample uses"),
    }
)
"""Every id, its severity and what it means."""


@dataclass(frozen=True)
class Finding:
    """One thing found. `details` holds what a fix needs, as plain values."""

    check: str
    split: str
    what: str
    row: int | None = None
    file: str | None = None
    severity: Severity = Severity.ERROR
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The finding in one line, without its severity."""
        place = self.file or self.split
        where = f"{place} ({self.split} {self.row})" if self.row is not None else place
        return f"{where}: {self.what}"

    def as_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "split": self.split,
            "row": self.row,
            "file": self.file,
            "what": self.what,
            "details": dict(self.details),
        }


def finding(
    check: str,
    split: str,
    what: str,
    *,
    row: int | None = None,
    file: str | None = None,
    severity: Severity | None = None,
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """A finding with the severity of its id unless another is given."""
    usual = CHECKS[check][0]
    return Finding(check, split, what, row, file, severity or usual, details or {})
