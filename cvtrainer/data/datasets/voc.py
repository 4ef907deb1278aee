"""Pascal VOC: an XML file per picture, list files for the splits, class masks where there are any.

The folders of VOC are known, and loose layouts too (`images` beside `annotations/xmls`). Boxes are
taken as they are written unless `one_based` says that pixel 1 is the first and that the last one
belongs to the box. An XML file that cannot be read spoils its picture only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.annotated import AnnotatedPictures, bound_classes
from cvtrainer.data.datasets.reading.labelled_files import files_below
from cvtrainer.data.datasets.reading.object_table import Fault, ObjectTable
from cvtrainer.data.datasets.reading.split_lists import LIST_FOLDERS, listed_names, without_ending
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.index import Index

FLAGS = ("difficult", "truncated")
ANNOTATION_FOLDERS = ("Annotations", "annotations/xmls", "annotations", "xmls", "xml", ".")
PICTURE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", ".")
MASK_FOLDER = "SegmentationClass"

_MASK_LISTS = ("ImageSets/Segmentation", *LIST_FOLDERS)


class Voc(AnnotatedPictures):
    """Detection, multilabel, segmentation where there is `SegmentationClass`; classification where
    each picture has one class.

    `split` names a list (`ImageSets/Main/train.txt`); without it all pictures are taken. Classes
    are the names in all XML files, sorted, unless `classes` gives them. Pictures without XML are
    left out and counted (`missing: skip`), are samples without objects (`empty`) or an error.
    `leave_out` names what samples shall not have: difficult or truncated objects.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str = "detection",
        split: str | None = None,
        classes: Sequence[str] | None = None,
        missing: Literal["skip", "empty", "error"] = "skip",
        leave_out: Sequence[str] = (),
        one_based: bool = False,
    ) -> None:
        if missing not in ("skip", "empty", "error"):
            raise UserError(f"missing is {missing!r}", todo="Use skip, empty or error.")
        unknown = [name for name in leave_out if name not in FLAGS]
        if unknown:
            raise UserError(f"leave_out names {unknown[0]}", todo=f"Use {', '.join(FLAGS)}.")
        self.layout = _Layout(Path(data_path))
        masked = task == "segmentation"
        wanted = self.layout.names(split, masked=masked)
        records = {name: _read(path) for name, path in self.layout.annotations.items()}
        used = sorted({o.name for record in records.values() for o in record.objects})
        names = bound_classes(used, used, classes, str(data_path))
        if masked:
            kept = [name for name in wanted if name in self.layout.masks]
        else:
            kept = [name for name in wanted if name in records or missing != "skip"]
        self.left_out = tuple(sorted(set(wanted) - set(kept)))
        """Pictures that have no annotation and are in no sample."""
        if missing == "error":
            self._refuse_missing(kept, records)
        columns = self._table(kept, records, names, one_based).columns()
        if masked:
            columns["mask"] = [self.layout.masks[name] for name in kept]
        notes = []
        if self.left_out:
            what = "mask" if masked else "XML file"
            notes = [f"{len(self.left_out)} pictures have no {what} and are left out"]
        super().__init__(
            Index.of(columns),
            root=data_path,
            task=task,
            classes=names,
            leave_out=leave_out,
            notes=notes,
        )

    def field(self, name: str, row: int) -> Any:
        """A target field of that row; class masks are in their files."""
        if name == "mask":
            return self.encoded("mask", row, "mask")
        return super().field(name, row)

    def _refuse_missing(self, kept: Sequence[str], records: Mapping[str, _Record]) -> None:
        lacking = [name for name in kept if name not in records]
        if lacking:
            raise UserError(
                f"{len(lacking)} pictures have no XML file, the first is {lacking[0]}",
                where=str(self.layout.root),
                todo="Annotate them, or choose missing: skip or empty.",
            )

    def _table(
        self,
        kept: Sequence[str],
        records: Mapping[str, _Record],
        names: Sequence[str],
        one_based: bool,
    ) -> ObjectTable:
        number = {name: k for k, name in enumerate(names)}
        table = ObjectTable(flags=FLAGS)
        shift = 1.0 if one_based else 0.0
        for name in kept:
            record = records.get(name, _NOTHING)
            path = self.layout.pictures.get(name) or self.layout.missing_picture(name, record)
            table.picture(path, width=record.width, height=record.height)
            if record.fault:
                table.fault(Fault(record.fault, str(self.layout.annotations[name])))
            for found in record.objects:
                left, top, right, bottom = found.box
                box = (left - shift, top - shift, right, bottom)
                table.object(box, number[found.name], flags=found.flags)
        return table


class _Object(NamedTuple):
    name: str
    box: tuple[float, float, float, float]
    flags: dict[str, bool]


class _Record(NamedTuple):
    """What an XML file says, or why it cannot be used."""

    filename: str
    width: str | None
    height: str | None
    objects: tuple[_Object, ...]
    fault: str = ""


_NOTHING = _Record("", None, None, ())


class _Layout:
    """The folders of a set: which file each name stands for."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            what = "not a folder" if root.exists() else "no such data folder"
            raise UserError(what, where=str(root))
        self.root = root
        folder = find_folder(root, ANNOTATION_FOLDERS, (".xml",))
        if folder is None:
            raise UserError(
                "no folder of XML files",
                where=str(root),
                todo=f"Looked for {', '.join(ANNOTATION_FOLDERS)}.",
            )
        self.annotations = {
            p.stem: p for p in sorted((root / folder).iterdir()) if p.suffix.lower() == ".xml"
        }
        self.picture_folder = find_folder(root, PICTURE_FOLDERS, IMAGE_EXTENSIONS) or "."
        self.pictures = _by_name(root, self.picture_folder)
        self.masks = _by_name(root, MASK_FOLDER) if (root / MASK_FOLDER).is_dir() else {}

    def names(self, split: str | None, *, masked: bool) -> list[str]:
        """The pictures of a split in the list's order; all of them, sorted, without one."""
        if split is None:
            return sorted({*self.pictures, *self.annotations})
        return listed_names(self.root, split, _MASK_LISTS if masked else LIST_FOLDERS)

    def missing_picture(self, name: str, record: _Record) -> str:
        """Where the picture should be that is not there."""
        file = Path(record.filename).name or f"{name}.jpg"
        return (Path(self.picture_folder) / file).as_posix()


def find_folder(root: Path, folders: Sequence[str], endings: Sequence[str]) -> str | None:
    """The first of these folders that has a file with one of these endings."""
    for folder in folders:
        place = root / folder
        if place.is_dir() and any(p.suffix.lower() in endings for p in place.iterdir()):
            return folder
    return None


def _by_name(root: Path, folder: str) -> dict[str, str]:
    found = {}
    for path in files_below(root / folder, IMAGE_EXTENSIONS):
        found[without_ending(path)] = path if folder == "." else f"{folder}/{path}"
    return found


def _read(path: Path) -> _Record:
    try:
        text = path.read_bytes()
        if b"<!ENTITY" in text:
            return _NOTHING._replace(fault="the XML file declares entities")
        tree = ElementTree.fromstring(text)
        objects = tuple(_object(found) for found in tree.iter("object"))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        return _NOTHING._replace(fault=f"the XML file cannot be read ({error})")
    filename = (tree.findtext("filename") or "").strip()
    return _Record(filename, tree.findtext("size/width"), tree.findtext("size/height"), objects)


def _object(found: ElementTree.Element) -> _Object:
    name = (found.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    sides = []
    for side in ("xmin", "ymin", "xmax", "ymax"):
        text = found.findtext(f"bndbox/{side}")
        if text is None:
            raise ValueError(f"an object {name} has no {side}")
        sides.append(float(text))
    left, top, right, bottom = sides
    flags = {flag: (found.findtext(flag) or "0").strip() not in ("0", "") for flag in FLAGS}
    return _Object(name, (left, top, right, bottom), flags)
