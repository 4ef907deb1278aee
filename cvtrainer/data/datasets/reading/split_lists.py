"""List files that name the pictures of a split: one name a line, whatever follows it.

VOC keeps them in `ImageSets/Main`, others in `annotations` or beside the data. A name may have its
ending or not.
"""

from __future__ import annotations

from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.data.decode import IMAGE_EXTENSIONS

LIST_FOLDERS = (
    "ImageSets/Main",
    "ImageSets/Segmentation",
    "ImageSets",
    "annotations",
    "Annotations",
    "splits",
    ".",
)


def list_files(root: Path, folders: tuple[str, ...] = LIST_FOLDERS) -> dict[str, Path]:
    """Name of each list below `root` and its file; the first folder that has a name wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((root / folder).glob("*.txt")):
            found.setdefault(path.stem, path)
    return found


def listed_names(root: Path, split: str, folders: tuple[str, ...] = LIST_FOLDERS) -> list[str]:
    """The names that the list of that split gives, without endings, in its order."""
    files = list_files(root, folders)
    if split not in files:
        known = ", ".join(files) or "none"
        raise UserError(
            f"no list {split}.txt for split {split!r}",
            where=str(root),
            todo=f"Lists here: {known}.",
        )
    return read_names(files[split])


def read_names(path: Path) -> list[str]:
    """The first word of each line; each name once."""
    names: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            names[without_ending(words[0])] = None
    return list(names)


def without_ending(name: str) -> str:
    """A picture's name without its ending; other dots stay."""
    lower = name.lower()
    ending = next((e for e in IMAGE_EXTENSIONS if lower.endswith(e)), "")
    return name[: len(name) - len(ending)]
