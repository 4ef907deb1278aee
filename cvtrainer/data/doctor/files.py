"""Checks of one sample's files: can they be read, are they what their names and annotations say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from cvtrainer.data.doctor.finding import Finding, finding
from cvtrainer.data.survey import Sight, Trouble

_OF_KIND = {
    "missing": "missing-file",
    "unreadable": "unreadable",
    "truncated": "truncated",
    "bomb": "bomb",
    "sound": "unreadable",
    "label": "label-range",
    "annotation": "missing-annotation",
    "size": "annotated-size",
    "empty": "missing-annotation",
    "value": "missing-value",
    "text": "text-empty",
    "mask-missing": "mask-missing",
}
_FORMATS: dict[str, tuple[str, ...]] = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".bmp": ("BMP", "DIB"),
    ".gif": ("GIF",),
    ".webp": ("WEBP",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".ppm": ("PPM",),
    ".pgm": ("PPM",),
    ".avif": ("AVIF",),
}
_EXTENSION = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "PPM": ".ppm"}


def check_troubles(sight: Sight) -> Iterator[Finding]:
    """What could not be read."""
    for trouble in sight.troubles:
        check, what = _named(trouble, sight)
        action = {} if check in ("label-range", "annotated-size") else {"action": "remove"}
        yield finding(
            check,
            sight.split,
            what,
            row=sight.row,
            file=trouble.where or sight.file,
            details=action,
        )


def _named(trouble: Trouble, sight: Sight) -> tuple[str, str]:
    if trouble.kind in ("unreadable", "truncated", "empty") and sight.bytes == 0 and not sight.x:
        path = PurePath(trouble.where)
        if path.suffix and _is_empty_file(trouble.where):
            return "empty-file", "the file holds no bytes"
    if trouble.kind == "unreadable" and _says_missing(trouble.what):
        return "missing-file", trouble.what
    if trouble.kind.startswith("mask-") and trouble.kind != "mask-missing":
        if _says_missing(trouble.what):
            return "mask-missing", trouble.what
        return "mask-unreadable", trouble.what
    if trouble.kind == "annotation" and not _says_absent(trouble.what):
        return "bad-annotation", trouble.what
    return _OF_KIND.get(trouble.kind, "unreadable"), trouble.what


def _is_empty_file(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return not file.read(1)
    except OSError:
        return False


def _says_missing(text: str) -> bool:
    return "no such" in text.lower()


def _says_absent(text: str) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in ("no ", "missing", "without", "not there", "is absent"))


def check_header(sight: Sight) -> Iterator[Finding]:
    """Format, colours and orientation."""
    header = sight.header
    if header is None:
        return

    def of(check: str, what: str, **details: object) -> Finding:
        return finding(check, sight.split, what, row=sight.row, file=sight.file, details=details)

    suffix = PurePath(sight.file.rpartition("!")[2]).suffix.lower()
    expected = _FORMATS.get(suffix)
    if expected is not None and header.format and header.format not in expected:
        right = _EXTENSION.get(header.format, f".{header.format.lower()}")
        yield of(
            "wrong-extension",
            f"named {suffix}, but it is {header.format}",
            action="rename",
            to=str(PurePath(sight.file).with_suffix(right)),
        )
    if header.orientation != 1:
        yield of("exif-orientation", f"EXIF orientation {header.orientation}")
    if header.deep:
        yield of("deep-colour", f"mode {header.mode}, more than 8 bits for a colour")
    if header.animated:
        yield of("animated", "several frames, of which the first counts")
    if header.transparent:
        yield of("alpha", "transparent pixels, which are laid on white")
    if header.mode == "CMYK":
        yield of("cmyk", "printing colours (CMYK)")
    yield from _annotated(sight)


def _annotated(sight: Sight) -> Iterator[Finding]:
    """The picture's size against the annotated one, and boxes drawn on a picture lying down."""
    header = sight.header
    if header is None:
        return
    upright, stored = (header.height, header.width), header.stored
    annotated = sight.annotated
    if annotated is not None and annotated != upright:
        if annotated == stored and header.sideways:
            yield finding(
                "exif-annotation",
                sight.split,
                f"annotated as {_text(stored)}, but EXIF orientation {header.orientation} makes "
                f"it {_text(upright)}",
                row=sight.row,
                file=sight.file,
                details={"action": "rotate", "orientation": header.orientation},
            )
        else:
            yield finding(
                "annotated-size",
                sight.split,
                f"the picture is {_text(upright)}, but annotated as {_text(annotated)}",
                row=sight.row,
                file=sight.file,
            )
        return
    if annotated is None and header.sideways and _fits_only(sight, stored, upright):
        yield finding(
            "exif-annotation",
            sight.split,
            f"boxes fit {_text(stored)}, but EXIF orientation {header.orientation} makes the "
            f"picture {_text(upright)}",
            row=sight.row,
            file=sight.file,
            details={"action": "rotate", "orientation": header.orientation},
        )


def _fits_only(sight: Sight, stored: tuple[int, int], upright: tuple[int, int]) -> bool:
    """Whether boxes or keypoints fit the picture as stored and not as it is seen."""
    corners = []
    boxes = sight.boxes
    if boxes is not None and np.size(boxes):
        corners.append(np.asarray(boxes, dtype=np.float64).reshape(-1, 2))
    points = sight.target.get("keypoints")
    if points is not None and np.size(points):
        corners.append(np.asarray(points, dtype=np.float64).reshape(-1, 3)[:, :2])
    if not corners:
        return False
    x, y = np.concatenate(corners).T

    def fits(size: tuple[int, int]) -> bool:
        return bool(np.nanmax(x) <= size[1] + 1 and np.nanmax(y) <= size[0] + 1)

    return fits(stored) and not fits(upright)


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
