"""The file of a package: a zip of which every byte follows from its parts.

Parts are stored, in order, without gaps, dates or comments of their own; `manifest.json` is the
first and has size and SHA-256 of the others; its own stands in the comment at the end of the file.
Reading makes all headers again and compares, so that no byte can change unseen.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import whole_file

FORMAT = 1
SUFFIX = ".cvt"
MANIFEST = "manifest.json"
MOST_PARTS = 1000
MOST_BYTES = 0xF0000000
"""Of the whole file; the plain form of zip ends at 4 GiB."""
MOST_TEXT = 1 << 20
"""Of the manifest."""

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_NEW_YEAR_1980 = 0x21
_PLAIN_FILE = 0o100644 << 16
_COMMENT = "cvtrainer package {:04d}: manifest of {:08d} bytes, sha256 {}"
_COMMENT_FORM = re.compile(
    rb"cvtrainer package (\d{4}): manifest of (\d{8}) bytes, sha256 ([0-9a-f]{64})"
)
_TAIL = _END.size + len(_COMMENT.format(0, 0, "0" * 64))
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_CHUNK = 1 << 20

Source = bytes | Path


@dataclass(frozen=True)
class Part:
    """A file in the package."""

    name: str
    size: int
    crc32: int
    sha256: str


class Archive:
    """A package whose every byte has been looked at."""

    def __init__(self, path: Path, parts: Sequence[Part], told: Mapping[str, Any]) -> None:
        self.path = path
        self.parts = {part.name: part for part in parts}
        self.told = told
        self._begins = dict(_begins(parts))

    def read(self, name: str) -> bytes:
        """A part, compared again."""
        part = self.parts.get(name)
        if part is None:
            raise UserError(f"the package lacks {name}", where=str(self.path))
        with self.path.open("rb") as file:
            file.seek(self._begins[name])
            data = file.read(part.size)
        if hashlib.sha256(data).hexdigest() != part.sha256:
            _refuse(self.path, f"{name} is damaged")
        return data

    def write_below(self, name: str, folder: Path) -> Path:
        """That part, or all parts below that name, as files in a folder."""
        for part in self.parts:
            if part == name or part.startswith(f"{name}/"):
                target = folder / part
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.read(part))
        return folder / name


def is_package(path: str | Path) -> bool:
    """Whether a file is meant as a package: by its name, or by how it begins."""
    place = Path(path)
    if place.suffix == SUFFIX:
        return not place.is_dir()
    try:
        with place.open("rb") as file:
            head = file.read(_LOCAL.size + len(MANIFEST))
    except OSError:
        return False
    return head.startswith(b"PK\3\4") and head.endswith(MANIFEST.encode())


def package_of(word: str | Path) -> tuple[Path | None, str | None]:
    """The package that a word means, and what it asks for in it (`model.cvt:int8`)."""
    text = str(word)
    if is_package(text):
        return Path(text), None
    before, colon, after = text.rpartition(":")
    if colon and before and is_package(before):
        return Path(before), after
    return None, None


def write_archive(path: Path, sources: Mapping[str, Source], told: Mapping[str, Any]) -> None:
    """The parts in their order, behind a manifest that says `told` besides."""
    parts = [_measured(name, source) for name, source in sources.items()]
    manifest = _manifest_text({**told, "format": FORMAT, "parts": [asdict(one) for one in parts]})
    everything = [_measured(MANIFEST, manifest), *parts]
    whole = _length(everything)
    if whole > MOST_BYTES or len(manifest) > MOST_TEXT or len(everything) > MOST_PARTS:
        raise UserError(f"{whole} bytes in {len(parts)} parts are too much", where=str(path))
    given: dict[str, Source] = {MANIFEST: manifest, **sources}
    with whole_file(path) as file:
        for part in everything:
            file.write(_local(part))
            for chunk in _chunks(given[part.name]):
                file.write(chunk)
        file.write(_directory(everything))


def open_archive(path: Path) -> Archive:
    """The package, if each of its bytes is what it was."""
    try:
        with path.open("rb") as file:
            return _opened(path, file)
    except OSError as error:
        raise UserError(
            f"no package can be read here ({(error.strerror or 'unknown').lower()})",
            where=str(path),
        ) from error


def _opened(path: Path, file: BinaryIO) -> Archive:
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    end = _COMMENT_FORM.fullmatch(file.read(_TAIL)[_END.size :])
    if end is None:
        _refuse(path, "its end is not that of a package")
    if int(end[1]) != FORMAT:
        raise UserError(
            f"a package of format {int(end[1])}; this version reads {FORMAT}", where=str(path)
        )
    length = int(end[2])
    if size > MOST_BYTES or length > min(size, MOST_TEXT):
        _refuse(path, f"its manifest would have {length} bytes of {size}")
    file.seek(_LOCAL.size + len(MANIFEST))
    manifest = file.read(length)
    if hashlib.sha256(manifest).hexdigest().encode() != end[3]:
        _refuse(path, f"{MANIFEST} is damaged")
    told = _manifest_of(path, manifest)
    parts = _parts_of(path, told)
    everything = [_measured(MANIFEST, manifest), *parts]
    if _length(everything) != size:
        _refuse(path, f"it has {size} bytes instead of {_length(everything)}")
    _compare(path, file, everything)
    return Archive(path, everything, told)


def _compare(path: Path, file: BinaryIO, parts: Sequence[Part]) -> None:
    """Every byte of the file."""
    file.seek(0)
    for part in parts:
        header = _local(part)
        if file.read(len(header)) != header:
            _refuse(path, f"what stands before {part.name} is damaged")
        sha, crc, left = hashlib.sha256(), 0, part.size
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                _refuse(path, f"{part.name} is cut off")
            sha.update(chunk)
            crc = zlib.crc32(chunk, crc)
            left -= len(chunk)
        if sha.hexdigest() != part.sha256 or crc != part.crc32:
            _refuse(path, f"{part.name} is damaged")
    if file.read() != _directory(parts):
        _refuse(path, "its list of parts is damaged")


def _manifest_of(path: Path, text: bytes) -> Mapping[str, Any]:
    told: Any = None
    with suppress(ValueError, RecursionError):
        told = json.loads(text)
    if not isinstance(told, dict) or _manifest_text(told) != text:
        _refuse(path, f"{MANIFEST} is not as one is written")
    return told


def _parts_of(path: Path, told: Mapping[str, Any]) -> list[Part]:
    """Those of the manifest, where their names and sizes can be."""
    if told.get("format") != FORMAT:
        raise UserError(
            f"a package of format {told.get('format')!r}; this version reads {FORMAT}",
            where=str(path),
        )
    listed = told.get("parts")
    if not isinstance(listed, list) or len(listed) >= MOST_PARTS:
        _refuse(path, "its manifest has no list of parts, or one that is too long")
    parts: list[Part] = []
    names = {MANIFEST}
    for one in listed:
        try:
            part = Part(**one)
        except TypeError:
            _refuse(path, f"its manifest tells of a part as {str(one)[:80]}")
        if not isinstance(part.name, str) or not _is_name(part.name):
            _refuse(path, f"{part.name!r} is no name for a part")
        if part.name.lower() in names:
            _refuse(path, f"{part.name} is there twice")
        numbers = (part.size, part.crc32)
        whole = all(type(number) is int and 0 <= number <= 0xFFFFFFFF for number in numbers)
        if not whole or part.size > MOST_BYTES or not isinstance(part.sha256, str):
            _refuse(path, f"{part.name} would have {part.size} bytes")
        names.add(part.name.lower())
        parts.append(part)
    for part in parts:
        above = (str(one).lower() for one in PurePosixPath(part.name).parents)
        if not names.isdisjoint(above):
            _refuse(path, f"{part.name} would be in a part that is no folder")
    return parts


def _is_name(name: str) -> bool:
    """Whether it stays inside a folder, on every system."""
    return len(name) <= 200 and _NAME.fullmatch(name) is not None


def _refuse(path: Path, why: str) -> NoReturn:
    raise UserError(
        f"the package is refused: {why}",
        where=str(path),
        todo="Copy it again from where it was made.",
    )


def _manifest_text(told: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(told, indent=1, sort_keys=True)}\n".encode()


def _measured(name: str, source: Source) -> Part:
    if not _is_name(name):
        raise UserError(f"{name!r} is no name for a part of a package")
    sha, crc, size = hashlib.sha256(), 0, 0
    for chunk in _chunks(source):
        sha.update(chunk)
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
    return Part(name, size, crc, sha.hexdigest())


def _chunks(source: Source) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _begins(parts: Sequence[Part]) -> Iterator[tuple[str, int]]:
    """Where the bytes of each part begin."""
    at = 0
    for part in parts:
        at += _LOCAL.size + len(part.name)
        yield part.name, at
        at += part.size


def _length(parts: Sequence[Part]) -> int:
    names = sum(len(part.name) for part in parts)
    headers = len(parts) * (_LOCAL.size + _CENTRAL.size)
    return headers + 2 * names + sum(part.size for part in parts) + _TAIL


def _local(part: Part) -> bytes:
    name = part.name.encode()
    numbers = (part.crc32, part.size, part.size, len(name), 0)
    return _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, _NEW_YEAR_1980, *numbers) + name


def _directory(parts: Sequence[Part]) -> bytes:
    """What follows the parts: the list of them, and the end with the manifest's checksum."""
    rows = []
    for part, (_, begin) in zip(parts, _begins(parts), strict=True):
        name = part.name.encode()
        at = begin - _LOCAL.size - len(name)
        sizes = (part.crc32, part.size, part.size, len(name), 0, 0, 0, 0, _PLAIN_FILE, at)
        rows.append(
            _CENTRAL.pack(b"PK\1\2", 3 << 8 | 20, 20, 0, 0, 0, _NEW_YEAR_1980, *sizes) + name
        )
    listing = b"".join(rows)
    comment = _COMMENT.format(FORMAT, parts[0].size, parts[0].sha256).encode()
    begins = _length(parts) - _TAIL - len(listing)
    count = len(parts)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(listing), begins, len(comment))
    return listing + end + comment
