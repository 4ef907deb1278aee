"""How the storages of pictures are recognised: each rule gives a candidate or None."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.coco_files import coco_files, looks_like_coco
from cvtrainer.data.datasets.reading.mask_files import (
    MASK_FOLDERS,
    PICTURE_FOLDERS,
    find_mask_folder,
    find_picture_folder,
    mask_layout,
)
from cvtrainer.data.datasets.reading.split_lists import list_files
from cvtrainer.data.datasets.reading.yolo_files import describes_yolo, yolo_yaml
from cvtrainer.data.datasets.voc import ANNOTATION_FOLDERS, MASK_FOLDER
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.detection.candidate import Candidate
from cvtrainer.data.detection.look import Look

SPLIT_WORDS = ("train", "training", "val", "valid", "validation", "test", "testing")

_ROLES = {
    *(name.split("/")[0].lower() for name in (*PICTURE_FOLDERS, *MASK_FOLDERS)),
    *("annotations", "imagesets", "jpegimages", "xmls", "labels", "masks"),
    *("leftimg8bit", "gtfine", "gtcoarse", "701_stillsraw_full", "labeledapproved_full"),
} - {"x", "y"}
_OBJECTS = ("detection", "multilabel", "classification", "generation")
_SHAPES = ("instances", "segmentation", "keypoints")
_LOOK_AT = 20


def picture_world(look: Look) -> Candidate | None:
    """An annotations.json that says splits, classes and size."""
    head = look.inside("annotations.json").head
    if not head.lstrip().startswith(b"{") or b'"images"' in head:
        return None
    if not all(key in head for key in (b'"size"', b'"seed"', b'"classes"', b'"splits"')):
        return None
    return Candidate(
        "picture_world",
        str(look.path),
        ("annotations.json has the size, seed, classes and splits of a picture world",),
    )


def coco(look: Look) -> Candidate | None:
    """JSON with COCO's lists, as the file itself or in the folder."""
    path = look.path
    if path.is_file():
        found = [path] if path.suffix.lower() == ".json" and looks_like_coco(path) else []
    else:
        found = coco_files(path)
    if not found:
        return None
    names = ", ".join(str(f.relative_to(path)) if f != path else f.name for f in found[:3])
    return Candidate(
        "coco",
        str(path),
        (f"{names} with the lists images, annotations and categories of COCO",),
        tasks=(*_OBJECTS, *_SHAPES),
    )


def voc(look: Look) -> Candidate | None:
    """XML files that begin with an annotation element."""
    for folder in ANNOTATION_FOLDERS:
        files = look.inside(folder).ending(".xml")
        if files and _is_voc(look.path / folder / files[0]):
            masks = (look.path / MASK_FOLDER).is_dir()
            evidence = [
                f"{len(files)} XML files in {folder}, {files[0]} is a Pascal VOC annotation"
            ]
            splits = tuple(n for n in list_files(look.path) if n in (*SPLIT_WORDS, "trainval"))
            if splits:
                evidence.append(f"lists of names for {', '.join(splits)}")
            tasks = (*_OBJECTS, "segmentation") if masks else _OBJECTS
            return Candidate("voc", str(look.path), tuple(evidence), tasks=tasks, parts=splits)
    return None


def yolo(look: Look) -> Candidate | None:
    """A data.yaml, or label files of numbers beside pictures."""
    tasks = (*_OBJECTS, *_SHAPES)
    path = look.path
    if path.is_file():
        good = path.suffix.lower() in (".yaml", ".yml") and describes_yolo(path)
        reason = "it has the class names and pictures of a YOLO data.yaml"
        return Candidate("yolo", str(path), (reason,), tasks=tasks) if good else None
    described = yolo_yaml(path)
    if described is not None:
        reason = f"{described.name} has the class names and pictures of a YOLO data.yaml"
        return Candidate("yolo", str(path), (reason,), tasks=tasks)
    labels = look.inside("labels")
    texts = [name for name in islice(labels.below(), _LOOK_AT) if name.endswith(".txt")]
    texts = [name for name in texts if Path(name).name != "classes.txt"]
    lines = [line for name in texts for line in labels.inside(name).lines()[:1]]
    if not lines or not all(_is_label_line(line) for line in lines) or "images" not in look.folders:
        return None
    reason = f"labels/{texts[0]} has a class number and shares of the sides in each line"
    return Candidate("yolo", str(path), (reason,), tasks=tasks)


def mask_pairs(look: Look) -> Candidate | None:
    """A folder of pictures and one of masks with the same names."""
    for split in ("", *(name for name in look.folders if name in SPLIT_WORDS)):
        base = look.path / split
        pictures, masks = find_picture_folder(base), find_mask_folder(base)
        if pictures == "." or masks is None or (masks == MASK_FOLDER and not split):
            continue
        try:
            layout = mask_layout(base, None, None, None)
        except UserError:
            continue
        inner = Path(split)
        reason = (
            f"{len(layout.pictures)} masks in {inner / masks} have the names of pictures in "
            f"{inner / pictures}"
        )
        splits = tuple(name for name in look.folders if name in SPLIT_WORDS) if split else ()
        return Candidate(
            "mask_pairs",
            str(look.path),
            (reason,),
            tasks=("segmentation", "generation"),
            parts=splits,
            choose="split" if split else "",
        )
    return None


def instance_masks(look: Look) -> Candidate | None:
    """Folders that have `images` with one picture, and `masks`."""
    for split in ("", *(name for name in look.folders if name in SPLIT_WORDS)):
        base = look.inside(split)
        names = base.folders[:_LOOK_AT]
        good = [name for name in names if _is_instance_folder(base.inside(name))]
        if not good or len(good) * 2 < len(names):
            continue
        if set(good) <= set(SPLIT_WORDS):
            continue
        reason = (
            f"folders such as {good[0]} have one picture in images and a file per object in masks"
        )
        splits = tuple(name for name in look.folders if name in SPLIT_WORDS) if split else ()
        return Candidate(
            "instance_masks",
            str(look.path),
            (reason,),
            tasks=("instances", "detection", "segmentation", "regression", "generation"),
            parts=splits,
            choose="split" if split else "",
        )
    return None


def image_folder(look: Look) -> Candidate | None:
    """A folder of pictures per class, possibly inside a folder per split."""
    splits = _split_folders(look)
    if splits:
        inner = [_class_folders(look.inside(split)) for split in splits]
        if not all(inner):
            return None
        reason = f"{', '.join(splits)} have class folders with pictures: {_some(inner[0])}"
        return Candidate(
            "image_folder",
            str(look.path),
            (reason,),
            tasks=("classification", "generation"),
            parts=splits,
            choose="split",
        )
    classes = _class_folders(look)
    lone = not classes and len(look.folders) == 1 and look.has_below(IMAGE_EXTENSIONS)
    if not classes and not lone:
        return None
    names = classes or look.folders
    reason = f"{len(names)} class folders with pictures: {_some(names)}"
    return Candidate(
        "image_folder",
        str(look.path),
        (reason,),
        tasks=("classification", "generation"),
        weak=lone,
    )


def loose_pictures(look: Look) -> Candidate | None:
    """Pictures without any label: enough for generation only."""
    if not look.has_below(IMAGE_EXTENSIONS):
        return None
    return Candidate(
        "image_folder",
        str(look.path),
        ("there are pictures",),
        words={"task": "generation"},
        tasks=("generation",),
        weak=True,
    )


def _class_folders(look: Look) -> tuple[str, ...]:
    """The folders, if they are class folders: several, with pictures, without another role."""
    names = look.folders
    lower = {name.lower() for name in names}
    if len(names) < 2 or lower & _ROLES or lower == {"x", "y"} or _name_splits(names):
        return ()
    filled = 0
    for name in names[:_LOOK_AT]:
        inside = look.inside(name)
        if not inside.folders and not inside.files:
            continue
        if _has_structure(inside) or not inside.has_below(IMAGE_EXTENSIONS):
            return ()
        filled += 1
    return names if filled else ()


def _split_folders(look: Look) -> tuple[str, ...]:
    """Folders named after splits; one `train` of flat pictures among others is a class."""
    splits = tuple(name for name in look.folders if name.lower() in SPLIT_WORDS)
    among_others = len(splits) == 1 and len(look.folders) > 3
    return () if among_others and not look.inside(splits[0]).folders else splits


def _name_splits(names: tuple[str, ...]) -> bool:
    """Whether half of the names or more are of splits: `Final_Training`, `test_images`."""
    words = [{w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)} for name in names]
    count = sum(bool(some & set(SPLIT_WORDS)) for some in words)
    return count > 1 and count * 2 >= len(names)


def _has_structure(look: Look) -> bool:
    """Whether a folder has parts of a data set in it, and not just pictures of one class."""
    lower = {name.lower() for name in look.folders}
    return len(lower & _ROLES) > 1 or len(lower & set(SPLIT_WORDS)) > 1


def _is_instance_folder(look: Look) -> bool:
    if not {"images", "masks"} <= set(look.folders):
        return False
    return len(look.inside("images").pictures) == 1


def _is_voc(path: Path) -> bool:
    try:
        for _, element in ElementTree.iterparse(path, events=("start",)):
            return str(element.tag) == "annotation"
    except (OSError, ElementTree.ParseError):
        return False
    return False


def _is_label_line(line: str) -> bool:
    words = line.split()
    numbers = all(re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", word) for word in words)
    return numbers and len(words) >= 5 and words[0].isdigit()


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
