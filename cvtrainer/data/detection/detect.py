"""One storage for a path: the rules are asked in turn, and what they found is kept in words.

None is an error that lists what was looked for, two are an error that names both. A folder that
has one folder and nothing else is looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from cvtrainer.core.errors import UserError
from cvtrainer.data.detection import others, pictures
from cvtrainer.data.detection.candidate import Candidate
from cvtrainer.data.detection.look import Look

_ROOM = "cvtrainer.data.datasets"

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "picture_world": f"{_ROOM}.picture_world:PictureWorld",
        "coco": f"{_ROOM}.coco:Coco",
        "voc": f"{_ROOM}.voc:Voc",
        "yolo": f"{_ROOM}.yolo:Yolo",
        "instance_masks": f"{_ROOM}.instance_masks:InstanceMasks",
        "mask_pairs": f"{_ROOM}.mask_pairs:MaskPairs",
        "web_dataset": f"{_ROOM}.web_dataset:WebDataset",
        "tar_stream": f"{_ROOM}.tar_source:TarSource",
        "image_folder": f"{_ROOM}.image_folder:ImageFolder",
        "audio_folder": f"{_ROOM}.audio_folder:AudioFolder",
        "text_folder": f"{_ROOM}.text_lines:TextFolder",
        "text_lines": f"{_ROOM}.text_lines:TextLines",
        "series_file": f"{_ROOM}.series:SeriesFile",
        "array_file": f"{_ROOM}.array_file:ArrayFile",
        "file_list": f"{_ROOM}.file_list:FileList",
        "table": f"{_ROOM}.table:Table",
    }
)
"""Short name and class of each storage that is recognised."""

_RULES: tuple[Callable[[Look], Candidate | None], ...] = (
    pictures.picture_world,
    pictures.coco,
    pictures.voc,
    pictures.yolo,
    pictures.instance_masks,
    pictures.mask_pairs,
    others.web_dataset,
    pictures.image_folder,
    others.audio_folder,
    others.text_folder,
    others.text_lines,
    others.series_file,
    others.array_file,
    others.file_list,
    others.table,
)
_LOOKED_FOR = (
    "class folders of pictures, sounds or texts; COCO JSON; Pascal VOC XML; a YOLO data.yaml; "
    "pictures with masks of the same names; a folder per picture with masks; tar archives; "
    "NumPy, IDX or HDF5 files; lists of files; tables; time series; lines of text per class"
)
_ANNOTATED = ("coco", "voc", "yolo", "instance_masks", "mask_pairs")
_COMPANIONS = ("table", "file_list")
_DEEPEST = 2
_MOST_TRIED = 10


def detect(path: str | Path, *, task: str | None = None, split: str | None = None) -> Candidate:
    """The storage at that path; `task` decides between those that serve different ones."""
    found = candidates(path)
    if task == "generation" and not found:
        loose = pictures.loose_pictures(Look(Path(path)))
        found = [] if loose is None else [loose]
    if task is not None and len(found) > 1:
        fitting = [one for one in found if not one.tasks or task in one.tasks]
        found = [one.because(f"task {task}") for one in fitting] or found
    if not found and Path(path).is_dir() and not any(Path(path).iterdir()):
        raise UserError("this folder is empty", where=str(path), todo="Put data there.")
    if not found:
        raise UserError(
            "what lies here is not recognised",
            where=str(path),
            todo=f"{_deeper(Look(Path(path)))}Say `type`. Looked for {_LOOKED_FOR}.",
        )
    if len(found) > 1:
        kinds = " or ".join(f"{one.type} ({one.evidence[0]})" for one in found)
        choices = " or ".join(f"`type: {one.type}`" for one in found)
        raise UserError(f"this may be {kinds}", where=str(path), todo=f"Choose {choices}.")
    _refuse_open_choice(found[0], split)
    return found[0]


def _deeper(look: Look) -> str:
    """The folders right inside that would be recognised, as advice."""
    found = []
    for name in look.folders[:_MOST_TRIED]:
        inner = _inside(look.inside(name), 1)
        if len(inner) == 1:
            found.append(f"{name} ({inner[0].type})")
    return f"Give one folder of it as `data_path`: {', '.join(found)}. " if found else ""


def _refuse_open_choice(found: Candidate, split: str | None) -> None:
    if found.choose == "file" or (found.choose == "split" and split is None):
        todo = "Give one of them as `data_path`."
        raise UserError(
            f"{found.type} with several parts: {', '.join(found.parts)}",
            where=found.data_path,
            todo=todo if found.choose == "file" else "Give `split`, or one of them as `data_path`.",
        )


def candidates(path: str | Path) -> list[Candidate]:
    """What may lie at that path; weak candidates only where there is no other."""
    text = str(path)
    if not Path(path).exists() and "{" not in text and not text.startswith("pipe:"):
        raise UserError("no such data folder or file", where=text)
    return _inside(Look(Path(path)), _DEEPEST)


def _inside(look: Look, depth: int) -> list[Candidate]:
    found = [candidate for rule in _RULES if (candidate := rule(look)) is not None]
    if found and found[0].type == "picture_world":
        return found[:1]
    strong = [candidate for candidate in found if not candidate.weak]
    if strong:
        return _without_companions(strong)
    if depth and len(look.folders) == 1 and not look.files:
        inner = _inside(look.inside(look.folders[0]), depth - 1)
        if inner:
            return [one.because(f"all data is in {look.folders[0]}") for one in inner]
    return found


def _without_companions(found: list[Candidate]) -> list[Candidate]:
    """Tables and lists beside annotations of another kind are about the same pictures."""
    annotated = [one for one in found if one.type in _ANNOTATED]
    if not annotated:
        return found
    beside = [one for one in found if one.type in _COMPANIONS]
    kept = [one for one in found if one not in beside]
    for companion in beside:
        reason = f"beside it, for `type: {companion.type}`: {companion.evidence[0]}"
        kept = [replace(one, evidence=(*one.evidence, reason)) for one in kept]
    return kept
