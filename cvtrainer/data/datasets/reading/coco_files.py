"""Where the annotations and the pictures of a COCO set lie: the layouts that are in use.

`annotations/instances_train2017.json` beside `train2017/`, one JSON beside its pictures, or
`train/_annotations.coco.json` among them. What is not unique is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cvtrainer.core.errors import UserError

HEAD_BYTES = 1 << 16
"""How much of a JSON file is looked at to tell whether it is COCO."""

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_OTHER_KINDS = ("captions", "panoptic", "stuff", "image_info")


def looks_like_coco(file: Path) -> bool:
    """Whether two of the three lists of COCO begin in the first or last bytes of the file."""
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
            opened.seek(max(file.stat().st_size - HEAD_BYTES, 0))
            head += opened.read(HEAD_BYTES)
    except OSError:
        return False
    return (
        head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
        and sum(key in head for key in _KEYS) >= 2
    )


def coco_files(folder: Path) -> list[Path]:
    """The COCO files of that folder, of its `annotations` and of the folders right below it."""
    patterns = ("*.json", "annotations/*.json", "*/_annotations.coco.json", "*/*.json")
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(path for path in found if looks_like_coco(path))


def annotation_file(path: Path, split: str | None, task: str) -> Path:
    """The one file of that path, split and task."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError("no such data folder or annotation file", where=str(path))
    found = coco_files(path)
    if not found:
        raise UserError("no COCO JSON in this folder or its annotations", where=str(path))
    if split is not None:
        of_split = [file for file in found if split.lower() in _words(file.relative_to(path))]
        if not of_split:
            names = ", ".join(str(file.relative_to(path)) for file in found)
            raise UserError(
                f"no split {split!r}", where=str(path), todo=f"The COCO files are {names}."
            )
        found = of_split
    found = _for_task(found, task)
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise UserError(
            f"{len(found)} COCO files: {names}",
            where=str(path),
            todo="Give `split`, or one of them as `data_path`.",
        )
    return found[0]


def image_folder_of(
    file: Path, given: Path, images: str | Path | None, names: Sequence[str]
) -> Path:
    """The folder that the file's picture names are relative to: where the first of them lies."""
    root = given if given.is_dir() else file.parent
    if images is not None:
        folder = Path(images) if Path(images).is_absolute() else root / images
        if not folder.is_dir():
            raise UserError("no such folder of pictures", where=str(folder))
        return folder
    if not names:
        return root
    tried = list(dict.fromkeys(_places(file, root)))
    for name in names:
        for folder in tried:
            if (folder / name).is_file():
                return folder
    existing = [str(folder) for folder in tried if folder.is_dir()]
    raise UserError(
        f"the picture {names[0]} is in none of {', '.join(existing)}",
        where=str(file),
        todo="Give the folder of pictures as `images`.",
    )


def _places(file: Path, root: Path) -> Iterator[Path]:
    word = file.stem.rsplit("_", 1)[-1]
    for base in (file.parent, root, file.parent.parent):
        yield base
        for name in ("images", word, f"images/{word}", file.stem, f"{word}/images"):
            yield base / name


def _for_task(files: list[Path], task: str) -> list[Path]:
    if task == "keypoints":
        return [file for file in files if "keypoints" in file.name] or files
    plain = [
        file for file in files if not any(kind in file.name for kind in (*_OTHER_KINDS, "keypoint"))
    ]
    return plain or files


def _words(path: Path) -> set[str]:
    """The words of a path in lower case: `instances_train2017.json` has train and train2017."""
    text = path.as_posix().lower()
    return set(re.findall(r"[a-z0-9]+", text)) | set(re.findall(r"[a-z]+", text))
