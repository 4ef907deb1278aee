"""Writes a picture world to disk: class folders, masks and one file of annotations.

`train/<class>/*.png` and `val/<class>/*.png` are read by any image-folder data set;
`annotations.json` adds boxes (xyxy), mask files and counts, which `PictureWorld` reads.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_whole
from cvtrainer.data.picture_world.drawn import picture_draws
from cvtrainer.data.picture_world.scenes import LIVELY, Look, Picture, Pixels, draw_picture
from cvtrainer.data.picture_world.shapes import ALL_SHAPES, CLASSES

_SMALLEST_SIZE = 16
_JPEG_QUALITY = 92


def write_picture_world(
    folder: str | Path,
    *,
    train: int = 900,
    val: int = 180,
    size: int = 64,
    seed: int = 0,
    format: Literal["png", "jpeg"] = "png",
    classes: Sequence[str] = CLASSES,
    look: Look = LIVELY,
) -> Path:
    """Write that many pictures, classes taking turns; the same arguments give the same bytes."""
    _check(size, format, classes)
    place = Path(folder)
    splits: dict[str, list[dict[str, Any]]] = {}
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        entries = []
        for k in range(count):
            class_id = k % len(classes)
            rng = picture_draws(seed, number, k)
            picture = draw_picture(class_id, rng, size=size, shapes=classes, look=look)
            entries.append(_write_picture(place, split, k, picture, classes, format))
        splits[split] = entries
    record = {"size": size, "seed": seed, "classes": list(classes), "splits": splits}
    write_whole(place / "annotations.json", json.dumps(record, indent=1).encode())
    return place


def _write_picture(
    place: Path,
    split: str,
    number: int,
    picture: Picture,
    classes: Sequence[str],
    format: str,
) -> dict[str, Any]:
    name = classes[picture.class_id]
    ending = "jpg" if format == "jpeg" else "png"
    file = f"{split}/{name}/{number:05d}.{ending}"
    mask = f"masks/{split}/{number:05d}.png"
    _write_image(place / file, picture.pixels, format)
    _write_image(place / mask, picture.mask, "png")
    counts = {c: picture.box_labels.count(k) for k, c in enumerate(classes)}
    return {
        "file": file,
        "class": name,
        "class_id": picture.class_id,
        "boxes": picture.boxes,
        "box_labels": picture.box_labels,
        "mask": mask,
        "keypoints": [[x, y, 2.0] for x, y in picture.marks],
        "count": len(picture.boxes),
        "counts": counts,
    }


def _write_image(path: Path, pixels: Pixels, format: str) -> None:
    """Not through `write_whole`: thousands of small files need no flush each; the list of them,
    written last, is what makes the folder whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    picture = Image.fromarray(pixels)
    if format == "jpeg":
        picture.save(data, "JPEG", quality=_JPEG_QUALITY)
    else:
        picture.save(data, "PNG")
    path.write_bytes(data.getvalue())


def _check(size: int, format: str, classes: Sequence[str]) -> None:
    if format not in ("png", "jpeg"):
        raise UserError(f"no picture format {format!r}", todo="Use png or jpeg.")
    check_world(size, classes, fewest=2)


def check_world(size: int, classes: Sequence[str], *, fewest: int) -> None:
    """Refuse pictures that are too small to show anything, and classes that nobody can draw."""
    if size < _SMALLEST_SIZE:
        raise UserError(
            f"pictures of {size} px are too small", todo=f"Use {_SMALLEST_SIZE} or more."
        )
    unknown = [name for name in classes if name not in ALL_SHAPES]
    if unknown or len(classes) < fewest:
        what = f"no shape {unknown[0]!r}" if unknown else f"fewer than {fewest} classes"
        raise UserError(what, todo=f"Choose from {', '.join(ALL_SHAPES)}.")
