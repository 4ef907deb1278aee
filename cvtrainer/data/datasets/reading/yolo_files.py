"""What a data.yaml says: the names of the classes and where the pictures of each split are.

An entry is a folder, a text file that lists pictures, or a list of either. Paths count from `path`,
else from the data.yaml; exports that write `../train/images` for a folder beside it are understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.labelled_files import files_below
from cvtrainer.data.datasets.reading.table_reading import decode_whole
from cvtrainer.data.decode import IMAGE_EXTENSIONS

SPLITS = ("train", "val", "test")
_NAME_FILES = ("classes.txt", "obj.names", "classes.names", "labels/classes.txt")
_LOOK_AT = 20
_SYNONYMS = {"valid": "val", "validation": "val"}


class YoloFiles:
    """Classes, keypoint shape and pictures of a data.yaml or of a folder without one."""

    def __init__(self, path: Path, classes: Sequence[str] | None) -> None:
        if not path.exists():
            raise UserError("no such data folder or data.yaml", where=str(path))
        here = path.absolute()
        self.yaml = here if here.is_file() else yolo_yaml(here)
        self.root = self.yaml.parent if self.yaml else here
        self._said: Mapping[str, Any] = _load(self.yaml) if self.yaml else {}
        self._base = self._base_folder()
        self.names = self._class_names(classes)
        self.keypoint_shape = self._keypoints()

    def pictures(self, split: str | None) -> list[str]:
        """The pictures of that split, or of all splits, each once."""
        entries = {name: self._said[name] for name in SPLITS if self._said.get(name)}
        if not entries:
            entries = self._folders()
        word = split
        if split is not None and split not in entries:
            word = _SYNONYMS.get(split, split)
            if word not in entries:
                raise UserError(
                    f"no split {split!r}",
                    where=str(self.yaml or self.root),
                    todo=f"Splits here: {', '.join(entries) or 'none'}.",
                )
        chosen = entries.values() if word is None else [entries[word]]
        found = [picture for entry in chosen for picture in self._entry(entry)]
        if found and not any(Path(picture).is_file() for picture in found[:_LOOK_AT]):
            raise UserError(
                f"none of the first pictures is there, e.g. {found[0]}",
                where=str(self.yaml or self.root),
                todo="Correct the paths in its lists; they may count from the list.",
            )
        return list(dict.fromkeys(found))

    def _base_folder(self) -> Path:
        said = self._said.get("path")
        if not said:
            return self.root
        places = (self.root / str(said), self.root.parent / str(said), self.root)
        return next(place for place in places if place.is_dir())

    def _folders(self) -> dict[str, Any]:
        """Folders of a set without a data.yaml: images, images/<split> or <split>/images."""
        root = self.root
        found: dict[str, Any] = {}
        for name in (*SPLITS, *_SYNONYMS):
            for place in (root / "images" / name, root / name / "images"):
                if place.is_dir():
                    found.setdefault(_SYNONYMS.get(name, name), str(place))
        return found or {"all": str(root / "images" if (root / "images").is_dir() else root)}

    def _class_names(self, classes: Sequence[str] | None) -> list[str]:
        names = self._said.get("names")
        if isinstance(names, Mapping):
            numbers = sorted(int(number) for number in names)
            if numbers != list(range(len(numbers))):
                raise UserError(
                    f"names are numbered {numbers[0]} to {numbers[-1]} with gaps",
                    where=str(self.yaml),
                    todo="Number them from 0 on.",
                )
            return [str(names.get(k, names.get(str(k)))) for k in numbers]
        if isinstance(names, list):
            return [str(name) for name in names]
        for name in _NAME_FILES:
            file = self.root / name
            if file.is_file():
                lines = decode_whole(file.read_bytes(), str(file), None).splitlines()
                return [line.strip() for line in lines if line.strip()]
        if classes is not None:
            return [str(name) for name in classes]
        count = self._said.get("nc")
        if isinstance(count, int):
            return [str(k) for k in range(count)]
        raise UserError(
            "the names of the classes are not given",
            where=str(self.yaml or self.root),
            todo="Write `names` into data.yaml, or give `classes`.",
        )

    def _keypoints(self) -> tuple[int, int]:
        shape = self._said.get("kpt_shape")
        if shape is None:
            return 0, 0
        good = (
            isinstance(shape, list) and len(shape) == 2 and all(isinstance(k, int) for k in shape)
        )
        if not good or shape[0] < 1 or shape[1] not in (2, 3):
            raise UserError(
                f"kpt_shape is {shape}",
                where=str(self.yaml),
                todo="Give the count of keypoints and 2 or 3 numbers each, as [17, 3].",
            )
        return shape[0], shape[1]

    def _entry(self, entry: Any) -> Iterator[str]:
        if isinstance(entry, list):
            for part in entry:
                yield from self._entry(part)
            return
        place = self._place(str(entry))
        if place.is_file():
            yield from _listed(place, self._base)
        else:
            yield from (str(place / name) for name in files_below(place, IMAGE_EXTENSIONS))

    def _place(self, text: str) -> Path:
        here = text
        while here.startswith("../"):
            here = here[3:]
        places = [base / t for t in (text, here) for base in (self._base, self.root)]
        for place in places:
            if place.exists():
                return place
        raise UserError(
            f"no such folder or list: {text}",
            where=str(self.yaml or self.root),
            todo=f"Looked at {', '.join(str(place) for place in dict.fromkeys(places))}.",
        )


def yolo_yaml(folder: Path) -> Path | None:
    """The YAML file of that folder that describes a YOLO set."""
    names = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
    others = sorted(p for p in folder.glob("*.y*ml") if p.name not in names)
    for path in [*(folder / name for name in names), *others]:
        if path.is_file() and describes_yolo(path):
            return path
    return None


def describes_yolo(path: Path) -> bool:
    """Whether that YAML file has class names and a place of pictures."""
    try:
        said = _load(path)
    except UserError:
        return False
    return ("names" in said or "nc" in said) and any(split in said for split in SPLITS)


def label_file(picture: str) -> Path:
    """Where the labels of that picture are."""
    path = Path(picture)
    parts = list(path.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _listed(file: Path, base: Path) -> Iterator[str]:
    for line in decode_whole(file.read_bytes(), str(file), None).splitlines():
        name = line.strip()
        if not name:
            continue
        place = file.parent / name
        yield str(place if place.exists() or not (base / name).exists() else base / name)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"not readable as YAML ({str(error).splitlines()[0]})", where=str(file)
        ) from error
    if not isinstance(said, Mapping):
        raise UserError("it holds no settings", where=str(file))
    return said
