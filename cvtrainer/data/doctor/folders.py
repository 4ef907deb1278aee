"""Files that lie beside the data's files and are in no list: forgotten, or left out on purpose."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.doctor.finding import NOTE, Finding, finding
from cvtrainer.data.index import Index
from cvtrainer.data.survey import Subject

_SOUNDS = (".wav", ".flac", ".mp3", ".ogg")
_LEFT_OUT = 0.2
"""From this share on, files were left out on purpose: one note says so."""
_LARGEST = 2_000_000


def check_left_out(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """What the data sets themselves say they leave out."""
    for subject in subjects:
        for name in _left_out(subject):
            yield finding(
                "left-out",
                subject.split,
                "no annotation, so it is in no sample",
                file=name,
                details={"action": "annotate-or-remove"},
            )
        for note in getattr(subject.whole, "notes", None) or ():
            yield finding("set-note", subject.split, str(note))
        count = getattr(subject.whole, "left_out", None)
        if isinstance(count, int) and count:
            yield finding("set-note", subject.split, f"{count} samples are left out")


def _left_out(subject: Subject) -> tuple[str, ...]:
    found = getattr(subject.whole, "left_out", None)
    return tuple(str(name) for name in found) if isinstance(found, list | tuple) else ()


def check_unreferenced(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Pictures, masks and sounds in the folders of the data that no sample names."""
    for column in ("path", "mask"):
        named = _named_files(subjects, column)
        if not named:
            continue
        folders = {os.path.dirname(path) for path in named}
        said = {os.path.basename(name) for one in subjects for name in _left_out(one)}
        said |= {os.path.splitext(name)[0] for name in said}
        lost = sorted(
            path
            for folder in folders
            for path in _files(folder)
            if path not in named and os.path.splitext(os.path.basename(path))[0] not in said
        )
        if len(lost) > _LEFT_OUT * (len(lost) + len(named)):
            yield finding(
                "unreferenced",
                subjects[0].split,
                f"{len(lost)} files beside the {len(named)} of the data are in no split, such as "
                f"{os.path.basename(lost[0])}",
                severity=NOTE,
                file=os.path.dirname(lost[0]),
            )
            continue
        kind = "mask" if column == "mask" else "file"
        for path in lost:
            yield finding(
                "unreferenced",
                subjects[0].split,
                f"this {kind} is in no split",
                file=path,
                details={"action": "add-or-remove"},
            )


def _named_files(subjects: Sequence[Subject], column: str) -> set[str]:
    """Every file of that column, for storages whose files are whole files."""
    named: set[str] = set()
    for subject in subjects:
        index = subject.index
        if index is None or column not in index or len(index) > _LARGEST:
            return set()
        if "offset" in index or not _is_text(index, column):
            return set()
        root = str(getattr(subject.whole, "root", ""))
        for name in index.texts(column):
            if name:
                named.add(os.path.normpath(os.path.join(root, os.fsdecode(name))))
    return named


def _is_text(index: Index, column: str) -> bool:
    first = index.value(column, 0)
    return first is None or isinstance(first, str | bytes)


def _files(folder: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        name = entry.name
        if name.startswith(".") or not name.lower().endswith((*IMAGE_EXTENSIONS, *_SOUNDS)):
            continue
        if entry.is_file():
            yield os.path.normpath(entry.path)
