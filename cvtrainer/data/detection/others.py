"""How tables, lists, arrays, archives, sounds, texts and series are recognised."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from cvtrainer.data.datasets.reading.coco_files import looks_like_coco
from cvtrainer.data.datasets.reading.labelled_files import NO_CLASSES
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.detection.candidate import Candidate
from cvtrainer.data.detection.look import Look
from cvtrainer.data.detection.pictures import SPLIT_WORDS

SOUND_ENDINGS = (".wav",)
SERIES_ENDINGS = (".ts", ".arff", ".tsf", ".tsv")
ARRAY_ENDINGS = (".npz", ".npy", ".h5", ".hdf5", ".pkl", ".pickle")
TEXT_TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
TABLE_ENDINGS = (*TEXT_TABLES, ".xlsx", ".xlsm", ".parquet", ".arrow", ".feather")

_IDX = re.compile(r"idx\d-ubyte(\.gz)?$|\.idx\d?(\.gz)?$", re.IGNORECASE)
_TAR = re.compile(r"\.tar(\.gz)?$|\.tgz$", re.IGNORECASE)
_NOT_CLASSES = ("classes", "labels", "names", *SPLIT_WORDS, "trainval")
_LOOK_AT = 20


def web_dataset(look: Look) -> Candidate | None:
    """Tar archives: the file, a pattern of them, or those of the folder."""
    text = str(look.path)
    if look.path.is_dir():
        shards = look.ending(".tar", ".tar.gz", ".tgz")
        if not shards:
            return None
        packed = not all(name.endswith(".tar") for name in shards)
        reason = f"{len(shards)} tar archives, the first is {shards[0]}"
    elif _TAR.search(text) or text.startswith("pipe:"):
        packed = not text.endswith(".tar")
        reason = "a pattern of tar archives" if "{" in text else "a tar archive"
    else:
        return None
    if packed:
        return Candidate("tar_stream", text, (f"{reason}, which can only be read in order",))
    return Candidate("web_dataset", text, (reason,))


def array_file(look: Look) -> Candidate | None:
    """NumPy, HDF5, pickle or IDX, by their first bytes."""
    if look.path.is_file():
        kind = _array_kind(look)
        return Candidate("array_file", str(look.path), (f"it is {kind}",)) if kind else None
    idx = [name for name in look.files if _IDX.search(name) and _is_idx(look.inside(name).head)]
    if idx:
        reason = f"{len(idx)} IDX files, the first is {idx[0]}"
        return Candidate("array_file", str(look.path), (reason,))
    batches = {"batches.meta", "data_batch_1"}, {"meta", "train", "test"}
    if any(
        names <= set(look.files) and look.inside(min(names)).head[:1] == b"\x80"
        for names in batches
    ):
        reason = "pickled batches, as the Python version of CIFAR has them"
        return Candidate("array_file", str(look.path), (reason,))
    found = [name for name in look.ending(*ARRAY_ENDINGS) if _array_kind(look.inside(name))]
    if not found:
        return None
    kind = _array_kind(look.inside(found[0]))
    path = look.path / found[0] if len(found) == 1 else look.path
    return Candidate("array_file", str(path), (f"{found[0]} is {kind}",), weak=len(found) > 1)


def file_list(look: Look) -> Candidate | None:
    """Text with an existing picture or sound and a label in each line."""
    if look.path.is_file():
        line = _list_line(look, look.path.parent)
        reason = f"it names files with labels: {line}"
        return Candidate("file_list", str(look.path), (reason,)) if line else None
    names = [n for n in look.ending(".txt", ".lst") if _list_line(look.inside(n), look.path)]
    if not names:
        return None
    splits = tuple(Path(name).stem for name in names)
    line = _list_line(look.inside(names[0]), look.path)
    reason = f"{', '.join(names)} with files and labels: {line}"
    if len(names) == 1:
        return Candidate("file_list", str(look.path / names[0]), (reason,))
    return Candidate("file_list", str(look.path), (reason,), parts=splits, choose="split")


def table(look: Look) -> Candidate | None:
    """A table; in a folder it is strong evidence only where it names pictures that are there."""
    if look.path.is_file():
        return _table_file(look)
    names = [name for name in look.files if _is_table(look.inside(name))]
    named = {name: _named_file(look.inside(name), look.path) for name in names}
    strong = [name for name, found in named.items() if found]
    if strong:
        reason = f"{strong[0]} names pictures that are here: {named[strong[0]]}"
        if len(strong) == 1:
            return Candidate("table", str(look.path / strong[0]), (reason,))
        return Candidate("table", str(look.path), (reason,), parts=tuple(strong), choose="file")
    if not names:
        return None
    if len(names) == 1:
        reason = f"{names[0]} is a table"
        return Candidate("table", str(look.path / names[0]), (reason,), weak=True)
    reason = f"{len(names)} tables: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
    return Candidate(
        "table", str(look.path), (reason,), parts=tuple(names), choose="file", weak=True
    )


def audio_folder(look: Look) -> Candidate | None:
    """Sounds in class folders, or with their class first in the name."""
    flat = look.ending(*SOUND_ENDINGS)
    if flat:
        pattern = _name_pattern(flat)
        if pattern is None:
            return None
        reason = f"{len(flat)} sounds whose names follow {pattern}, as {flat[0]}"
        return Candidate("audio_folder", str(look.path), (reason,), words={"pattern": pattern})
    return _class_folder_of(look, "audio_folder", SOUND_ENDINGS, "sounds")


def text_folder(look: Look) -> Candidate | None:
    """A folder of text files per class."""
    return _class_folder_of(look, "text_folder", (".txt",), "texts")


def text_lines(look: Look) -> Candidate | None:
    """A file of lines per class: one name with several endings, or a text file for each class."""
    if not look.path.is_dir() or look.folders or look.pictures:
        return None
    known = (*TABLE_ENDINGS, *ARRAY_ENDINGS, *SERIES_ENDINGS, *SOUND_ENDINGS)
    other = [n for n in look.files if Path(n).suffix and not n.lower().endswith(known)]
    stems = Counter(Path(name).stem for name in other)
    shared = [name for name in other if stems[Path(name).stem] > 1]
    texts = [n for n in look.ending(".txt") if Path(n).stem.lower() not in _NOT_CLASSES]
    for names, why in ((shared, "one name with an ending per class"), (texts, "a file per class")):
        if len(names) > 1 and len(names) == len(look.files) and all(map(_is_text(look), names)):
            reason = f"files of lines, {why}: {', '.join(names[:5])}"
            return Candidate("text_lines", str(look.path), (reason,))
    return None


def series_file(look: Look) -> Candidate | None:
    """A `.ts`, `.arff` or `.tsf` file with its header, or a folder of them."""
    if look.path.is_file():
        if not _is_series(look):
            return None
        of = "a class and numbers in each line" if look.path.suffix == ".tsv" else "a header"
        reason = f"a {look.path.suffix} file of time series, with {of}"
        return Candidate("series_file", str(look.path), (reason,))
    found = [name for name in look.ending(*SERIES_ENDINGS) if _is_series(look.inside(name))]
    if not found:
        return None
    reason = f"time series: {', '.join(found[:4])}"
    path = look.path / found[0] if len(found) == 1 else look.path
    return Candidate("series_file", str(path), (reason,))


def _class_folder_of(
    look: Look, type_name: str, endings: tuple[str, ...], what: str
) -> Candidate | None:
    names = tuple(name for name in look.folders if name not in NO_CLASSES)
    if len(names) < 2 or not all(look.inside(n).has_below(endings) for n in names[:_LOOK_AT]):
        return None
    if any(look.inside(name).has_below(IMAGE_EXTENSIONS) for name in names[:_LOOK_AT]):
        return None
    if set(names) <= set(SPLIT_WORDS):
        return None
    reason = f"{len(names)} class folders with {what}: {', '.join(names[:5])}"
    left_out = [name for name in look.folders if name not in names]
    reason += f"; left out: {', '.join(left_out)}" if left_out else ""
    return Candidate(type_name, str(look.path), (reason,))


def _name_pattern(names: tuple[str, ...]) -> str | None:
    """`{label}_{speaker}_{take}.wav` where all names have as many parts."""
    endings = {Path(name).suffix for name in names}
    parts = {len(Path(name).stem.split("_")) for name in names}
    if len(endings) != 1 or len(parts) != 1:
        return None
    words = {1: None, 2: "{label}_{take}", 3: "{label}_{speaker}_{take}"}.get(parts.pop())
    labels = {name.split("_")[0] for name in names}
    if words is None or not 2 <= len(labels) <= max(len(names) // 2, 2):
        return None
    return words + endings.pop()


def _table_file(look: Look) -> Candidate | None:
    if not _is_table(look):
        return None
    return Candidate("table", str(look.path), (f"it is a table ({look.path.suffix})",))


def _is_table(look: Look) -> bool:
    ending = look.path.suffix.lower()
    if ending == ".tsv" and _is_series(look):
        return False
    if ending == ".json":
        begins = look.head.lstrip()[:1]
        return begins == b"[" or (begins == b"{" and _is_json_columns(look))
    return ending in TABLE_ENDINGS


def _is_json_columns(look: Look) -> bool:
    """An object whose first value is a list or an object, and that is no COCO file."""
    text = look.head.decode("utf-8", errors="replace")
    return not looks_like_coco(look.path) and bool(re.match(r'\s*\{\s*"[^"]*"\s*:\s*[\[{]', text))


def _named_file(look: Look, root: Path) -> str:
    """A picture or sound that one of the first rows names and that exists."""
    if not look.path.name.lower().endswith(TEXT_TABLES):
        return ""
    for line in look.lines()[1:_LOOK_AT]:
        for word in _cells(line):
            if word.lower().endswith((*IMAGE_EXTENSIONS, *SOUND_ENDINGS)):
                for folder in (root, root / "images", root / "train", root / "data"):
                    if (folder / word).is_file():
                        return word
    return ""


def _cells(line: str) -> list[str]:
    try:
        row: Any = json.loads(line)
        return [str(value) for value in row.values()] if isinstance(row, dict) else []
    except ValueError:
        return [word.strip().strip('"') for word in re.split(r"[,;\t]", line)]


def _list_line(look: Look, root: Path) -> str:
    """The first line, if it and others name existing files and a label."""
    lines = [line for line in look.lines()[:_LOOK_AT] if not line.startswith("#")]
    if look.path.suffix.lower() not in (".txt", ".lst") or not lines:
        return ""
    for line in lines:
        words = re.split(r"[\t, ]+", line.strip())
        fitting = words[0].lower().endswith((*IMAGE_EXTENSIONS, *SOUND_ENDINGS))
        if len(words) < 2 or not fitting:
            return ""
    first = re.split(r"[\t, ]+", lines[0].strip())[0]
    return lines[0].strip() if (root / first).is_file() else ""


def _array_kind(look: Look) -> str:
    head = look.head
    if head.startswith(b"\x93NUMPY"):
        return "a NumPy array"
    if head.startswith(b"\x89HDF\r\n"):
        return "HDF5"
    if _is_idx(head) and _IDX.search(look.path.name):
        return "IDX"
    ending = look.path.suffix.lower()
    if ending == ".npz" and head.startswith(b"PK"):
        return "an archive of NumPy arrays"
    return "a pickle" if ending in (".pkl", ".pickle") and head[:1] == b"\x80" else ""


def _is_idx(head: bytes) -> bool:
    return len(head) > 4 and head[:2] == b"\0\0" and head[2] in (8, 9, 11, 12, 13, 14)


def _is_series(look: Look) -> bool:
    if look.path.suffix.lower() == ".tsv":
        rows = [re.split("\t", line) for line in look.lines()[:_LOOK_AT]]
        return bool(rows) and all(len(row) > 2 and all(map(_is_number, row)) for row in rows)
    text = look.head.decode("utf-8", errors="replace").lower()
    if look.path.suffix.lower() == ".arff":
        return "@relation" in text and "@attribute" in text
    if look.path.suffix.lower() not in SERIES_ENDINGS:
        return False
    return "@data" in text or "@problemname" in text or "@relation" in text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_text(look: Look) -> Any:
    return lambda name: b"\0" not in look.inside(name).head
