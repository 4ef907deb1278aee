"""Which mask belongs to which picture: two folders, names that are equal but for a suffix.

The usual names of the folders are known, with a folder per split inside of them, around them, or
a list of names. A picture may have its mask beside it when the suffix tells them apart.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.labelled_files import files_below
from cvtrainer.data.datasets.reading.split_lists import listed_names, without_ending
from cvtrainer.data.decode import IMAGE_EXTENSIONS

PICTURE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "inputs", "input", "x")
MASK_FOLDERS = (
    "masks",
    "mask",
    "annotations/trimaps",
    "trimaps",
    "SegmentationClass",
    "segmentation",
    "segmentations",
    "groundtruth",
    "gt",
    "labels",
    "label",
    "targets",
    "annotations",
    "y",
)
_SUFFIXES = ("", "_mask", "-mask", "_masks", "_seg", "_segmentation", "_gt", "_label", "_labels")
_STEM = "{stem}"


class MaskLayout(NamedTuple):
    """Pictures with their masks, relative to the root, and what has no partner."""

    pictures: tuple[str, ...]
    masks: tuple[str, ...]
    alone: tuple[str, ...]


def mask_layout(root: Path, images: str | None, masks: str | None, split: str | None) -> MaskLayout:
    """The pairs of that split. `masks` is a folder, or a pattern such as `masks/{stem}_mask`.

    So is `images`, where pictures have a suffix of their own (`leftImg8bit/{stem}_leftImg8bit`).
    """
    if not root.is_dir():
        raise UserError("not a folder" if root.exists() else "no such data folder", where=str(root))
    names: list[str] | None = None
    base, inner = root, ""
    before, after = _ends(images) if images and _STEM in images else ("", "")
    images = _folder(images) if images else None
    if split is not None:
        if find_mask_folder(root / split) or (masks and (root / split / _folder(masks)).is_dir()):
            base = root / split
        elif _has_inner(root, images, masks, split):
            inner = split
        else:
            names = listed_names(root, split)
    picture_folder = _given(base, images, "pictures") or find_picture_folder(base)
    mask_folder = _folder(masks) if masks else find_mask_folder(base)
    if mask_folder is None or not (base / mask_folder).is_dir():
        raise UserError(
            f"no such folder of masks: {mask_folder}" if masks else "no folder of masks",
            where=str(base),
            todo=f"Give `masks`; looked for {', '.join(MASK_FOLDERS)}.",
        )
    pictures = _bare(_files(base, picture_folder, inner), before, after)
    found = _files(base, mask_folder, inner)
    prefix, suffix = _around(masks, pictures, found)
    if picture_folder == mask_folder:
        pictures = {k: v for k, v in pictures.items() if not _is_mask(k, prefix, suffix)}
    return _pairs(root, base, pictures, found, (prefix, suffix), names)


def find_picture_folder(root: Path) -> str:
    """The folder of pictures by its name; the root itself where there is none."""
    return next((name for name in PICTURE_FOLDERS if (root / name).is_dir()), ".")


def find_mask_folder(root: Path) -> str | None:
    """The folder of masks by its name: one that has pictures in it or in its folders."""
    for name in MASK_FOLDERS:
        if (root / name).is_dir() and next(files_below(root / name, _MASK_ENDINGS), None):
            return name
    return None


_MASK_ENDINGS = (".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm")


def _pairs(
    root: Path,
    base: Path,
    pictures: dict[str, str],
    masks: dict[str, str],
    around: tuple[str, str],
    names: list[str] | None,
) -> MaskLayout:
    prefix, suffix = around
    relative = base.relative_to(root)
    wanted = sorted(pictures) if names is None else names
    pairs: list[tuple[str, str]] = []
    alone: list[str] = []
    for name in wanted:
        picture, mask = pictures.get(name), masks.get(_named(name, prefix, suffix))
        if picture is None or mask is None:
            alone.append(picture or mask or name)
        else:
            pairs.append(((relative / picture).as_posix(), (relative / mask).as_posix()))
    if not pairs:
        raise UserError(
            "no mask has the name of a picture",
            where=str(base),
            todo="Say how masks are named, e.g. `masks: masks/{stem}_mask`.",
        )
    if names is None:
        used = {mask for _, mask in pairs}
        rest = ((relative / mask).as_posix() for mask in masks.values())
        own = {(relative / picture).as_posix() for picture in pictures.values()}
        alone += sorted(mask for mask in rest if mask not in used and mask not in own)
    return MaskLayout(tuple(p for p, _ in pairs), tuple(m for _, m in pairs), tuple(alone))


def _files(base: Path, folder: str, inner: str) -> dict[str, str]:
    """Name without ending, relative to the folder, and path relative to the base."""
    place = PurePosixPath(folder) / inner
    found = files_below(base / place, IMAGE_EXTENSIONS)
    return {without_ending(path): (place / path).as_posix() for path in found}


def _around(masks: str | None, pictures: dict[str, str], found: dict[str, str]) -> tuple[str, str]:
    """What stands before and after the picture's name in a mask's name."""
    if masks and _STEM in masks:
        return _ends(masks)
    counts = [sum(name + suffix in found for name in pictures) for suffix in _SUFFIXES]
    if pictures == found:
        counts[0] = 0
    return "", _SUFFIXES[counts.index(max(counts))]


def _ends(pattern: str) -> tuple[str, str]:
    """What stands before and after `{stem}` in the name of a pattern."""
    before, after = PurePosixPath(pattern).name.split(_STEM, 1)
    return before, without_ending(after)


def _bare(pictures: dict[str, str], before: str, after: str) -> dict[str, str]:
    """Those pictures whose names have these ends, by their names without them."""
    if not before and not after:
        return pictures
    found = {}
    for name, path in pictures.items():
        folder, slash, last = name.rpartition("/")
        stem = last.removeprefix(before).removesuffix(after)
        if len(stem) == len(last) - len(before) - len(after):
            found[f"{folder}{slash}{stem}"] = path
    return found


def _named(name: str, prefix: str, suffix: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{prefix}{last}{suffix}"


def _is_mask(name: str, prefix: str, suffix: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith(prefix) and last.endswith(suffix) and bool(prefix or suffix)


def _folder(masks: str) -> str:
    """The folder of a pattern; a pattern of a name alone means the root."""
    return PurePosixPath(masks).parent.as_posix() if _STEM in masks else masks


def _given(base: Path, folder: str | None, what: str) -> str | None:
    if folder is not None and not (base / folder).is_dir():
        raise UserError(f"no such folder of {what}: {folder}", where=str(base))
    return folder


def _has_inner(root: Path, images: str | None, masks: str | None, split: str) -> bool:
    mask_folder = _folder(masks) if masks else find_mask_folder(root)
    picture_folder = images or find_picture_folder(root)
    return mask_folder is not None and all(
        (root / folder / split).is_dir() for folder in (mask_folder, picture_folder)
    )
