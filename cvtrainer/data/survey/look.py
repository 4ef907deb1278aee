"""One look at one sample: its header, its content, its target, and every trouble on the way.

`deep` decodes; without it only headers are read. A look returns whatever the sample is: what
raises elsewhere is written down here as a trouble with a kind, a place and a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from cvtrainer.core.errors import UserError
from cvtrainer.data.decode import Decoding, decode_image, decode_mask
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample
from cvtrainer.data.survey.header import Header, read_header
from cvtrainer.data.survey.subject import Subject

_MASK_FIELDS = ("mask", "masks")


@dataclass(frozen=True)
class Trouble:
    """Something that could not be read: `kind` is one word, as in `BadSample`."""

    kind: str
    where: str
    what: str


@dataclass
class Sight:
    """What one look gave; `x` is None where it was not or could not be decoded."""

    split: str
    row: int
    file: str
    kind: str = "unknown"
    x: Any = None
    header: Header | None = None
    target: dict[str, Any] = field(default_factory=dict)
    annotated: tuple[int, int] | None = None
    rate: int | None = None
    bytes: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    boxes: Any = None
    """All boxes as the files have them, also those that samples leave out; xyxy in pixels."""
    box_labels: Any = None
    masks: int = 0
    mask_files: int | None = None
    """How many files of one object each there are, where objects are files."""
    filled: bool = False
    """Whether the data set fills in the missing values that are seen here."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the upright picture."""
        if self.header is not None:
            return self.header.height, self.header.width
        if self.kind == "image" and isinstance(self.x, np.ndarray):
            return int(self.x.shape[0]), int(self.x.shape[1])
        return None


def look(subject: Subject, row: int, *, deep: bool) -> Sight:
    """That sample, seen."""
    sight = Sight(subject.split, row, subject.file(row), filled=subject.fills_missing)
    record = _record(subject, row, sight, deep=deep)
    meta = record.get("meta") or {}
    sight.file = str(meta.get("path", sight.file))
    annotated = meta.get("annotated_size")
    if annotated is not None and None not in annotated:
        sight.annotated = (int(annotated[0]), int(annotated[1]))
    if meta.get("sample_rate") is not None:
        sight.rate = int(meta["sample_rate"])
    target = record.get("target")
    sight.target = dict(target) if isinstance(target, dict) else {}
    for name in ("mask", "masks", "boxes", "box_labels", "keypoints"):
        if name in record:
            sight.target.setdefault(name, record[name])
    _see_input(record.get("x", record.get("image")), sight, deep=deep)
    _see_objects(subject, row, sight)
    for name, value in list(sight.target.items()):
        if isinstance(value, Encoded):
            sight.target[name] = _mask(value, sight) if deep else None
    return sight


def _record(subject: Subject, row: int, sight: Sight, *, deep: bool) -> dict[str, Any]:
    first: Trouble | None = None
    if deep or not subject.has_parts:
        try:
            return dict(subject.record(row))
        except Exception as error:
            first = trouble_of(error, sight.file)
    if subject.has_parts:
        return _in_parts(subject, row, sight, first, deep=deep)
    if first is not None:
        sight.troubles.append(first)
    return {}


def _in_parts(
    subject: Subject, row: int, sight: Sight, first: Trouble | None, *, deep: bool
) -> dict[str, Any]:
    """The record field by field, so that one bad field does not hide the others; without
    `deep`, masks that would have to be painted are left alone."""
    record: dict[str, Any] = {"target": {}, "meta": {}}
    seen: list[Trouble] = []
    try:
        record["x"] = subject.input(row)
    except Exception as error:
        seen.append(trouble_of(error, sight.file))
    for name in subject.fields:
        if not deep and name in _MASK_FIELDS and subject.can_count_masks:
            continue
        try:
            record["target"][name] = subject.field(name, row)
        except Exception as error:
            found = trouble_of(error, sight.file)
            seen.append(_of_mask(found) if name in _MASK_FIELDS else found)
            record["target"][name] = subject.raw(name, row)
    height, width = subject.raw("height", row), subject.raw("width", row)
    if height is not None and width is not None:
        record["meta"]["annotated_size"] = (height, width)
    rate = getattr(subject.whole, "sample_rate", None)
    if rate is not None:
        record["meta"]["sample_rate"] = rate
    if first is not None and not seen:
        seen = [first]
    sight.troubles.extend(dict.fromkeys(seen))
    return record


def _see_objects(subject: Subject, row: int, sight: Sight) -> None:
    """Boxes as filed, and how many masks there are."""
    sight.boxes, sight.box_labels = sight.target.get("boxes"), sight.target.get("box_labels")
    try:
        filed = subject.raw_boxes(row)
        if filed is not None:
            sight.boxes, sight.box_labels = filed
    except Exception:  # the trouble of the fields says why
        sight.boxes = sight.box_labels = None
    files = subject.raw("object_masks", row)
    sight.mask_files = None if files is None else len(files)
    if "masks" in sight.target:
        sight.masks = 0 if sight.target["masks"] is None else len(sight.target["masks"])
    elif "mask" in sight.target:
        sight.masks = int(sight.target["mask"] is not None)
    else:
        sight.masks = subject.mask_count(row)


def _see_input(x: Any, sight: Sight, *, deep: bool) -> None:
    if isinstance(x, Encoded):
        sight.kind = "image" if x.kind != "sound" else "sound"
        if x.kind == "sound":
            _see_sound(x, sight, deep=deep)
        else:
            _see_picture(x, sight, deep=deep)
        return
    if isinstance(x, Image.Image):
        x = np.asarray(x.convert("RGB"))
    sight.kind = kind_of(x, sight.rate)
    sight.x = x
    if isinstance(x, np.ndarray):
        sight.bytes = int(x.nbytes)
    elif isinstance(x, str):
        sight.bytes = len(x.encode("utf-8", "surrogatepass"))


def kind_of(x: Any, rate: int | None) -> str:
    """What an input is: image, sound, series, vector, text or unknown."""
    if isinstance(x, str):
        return "text"
    if not isinstance(x, np.ndarray):
        return "unknown"
    if rate is not None:
        return "sound"
    if x.ndim == 3 or (x.ndim == 2 and x.dtype == np.uint8):
        return "image"
    return {1: "vector", 2: "series"}.get(x.ndim, "unknown")


def _see_picture(encoded: Encoded, sight: Sight, *, deep: bool) -> None:
    try:
        data = encoded.read() if deep else None
        sight.header = read_header(encoded, data)
        sight.bytes = sight.header.bytes
    except Exception as error:
        lost = isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError)
        if lost or not deep:
            sight.troubles.append(trouble_of(error, encoded.name))
            return
        data = encoded.read()
        sight.bytes = len(data)
        if isinstance(error, Image.DecompressionBombError):
            sight.troubles.append(trouble_of(error, encoded.name))
            return
    if data is None:
        return
    try:
        sight.x = decode_image(data, encoded.name, Decoding())
    except Exception as error:
        sight.troubles.append(trouble_of(error, encoded.name))
        return
    height, width = sight.x.shape[:2]
    if sight.header is not None and (sight.header.height, sight.header.width) != (height, width):
        sight.header = replace(sight.header, height=height, width=width)


def _see_sound(encoded: Encoded, sight: Sight, *, deep: bool) -> None:
    from cvtrainer.data.decode.sound import decode_sound

    try:
        data = encoded.read()
        sight.bytes = len(data)
        sound = decode_sound(data, encoded.name)
    except Exception as error:
        sight.troubles.append(trouble_of(error, encoded.name, otherwise="sound"))
        return
    sight.x, sight.rate = sound.samples, int(sound.rate)


def _mask(encoded: Encoded, sight: Sight) -> Any:
    try:
        return decode_mask(encoded.read(), encoded.name)
    except Exception as error:
        sight.troubles.append(_of_mask(trouble_of(error, encoded.name)))
        return None


def _of_mask(found: Trouble) -> Trouble:
    """A trouble with a file as one with a mask's file."""
    if found.kind not in ("unreadable", "truncated", "missing", "bomb"):
        return found
    return Trouble(f"mask-{found.kind}", found.where, found.what)


def trouble_of(error: Exception, file: str, *, otherwise: str = "unreadable") -> Trouble:
    """That exception as a trouble with this file."""
    if isinstance(error, BadSample):
        return Trouble(error.kind, error.where or file, error.what)
    if isinstance(error, Image.DecompressionBombError):
        return Trouble("bomb", file, "the picture is too large to be decoded")
    if isinstance(error, FileNotFoundError):
        return Trouble("missing", file, "no such file")
    if isinstance(error, UserError):
        return Trouble(otherwise, error.where or file, error.what)
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, OSError | ValueError | SyntaxError | EOFError):
        return Trouble(otherwise, file, text)
    return Trouble("unreadable", file, f"{type(error).__name__}: {text}")
