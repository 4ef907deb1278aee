"""Samples of tar archives read from front to back: packed archives, and pipes.

Nothing is read at any other place than the next, so that a download or a decompressor can stand
behind it. `pipe:command` takes the output of a shell command as the archive. An archive that is
cut off gives the samples before the cut.
"""

from __future__ import annotations

import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.annotated import has_area
from cvtrainer.data.datasets.reading.tar_fields import FieldSources
from cvtrainer.data.datasets.reading.tar_members import Part, expand, part_of, shard_files
from cvtrainer.data.encoded import Encoded, Kind
from cvtrainer.data.sample import BadSample, Sample

PIPE = "pipe:"
_CUT = (tarfile.TarError, EOFError, zlib.error)


class TarSource:
    """The samples of each archive in order, as `{"x", "target", "meta"}` with encoded values.

    `counts` says how many samples each archive has; without it all are read through once, which
    pipes must allow too. Labels that are names need `classes`. `shuffle_buffer` is how many samples
    wait while one of them is drawn, where the order is to be shuffled.
    """

    def __init__(
        self,
        data_path: str | Path | Sequence[str],
        *,
        task: str = "classification",
        classes: Sequence[str] | None = None,
        fields: Mapping[str, str] | None = None,
        counts: Sequence[int] | None = None,
        shuffle_buffer: int = 1000,
    ) -> None:
        self.shards = _named(data_path)
        self.shuffle_buffer = shuffle_buffer
        where = self.shards[0]
        self.classes = None if classes is None else {str(n): k for k, n in enumerate(classes)}
        """Class name to class number, where names were given."""
        FieldSources(task, fields, where)
        self._said = (task, fields, where)
        if counts is not None and len(counts) != len(self.shards):
            raise UserError(f"{len(counts)} counts for {len(self.shards)} archives", where=where)
        self._counts = None if counts is None else tuple(int(count) for count in counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many samples each archive has."""
        if self._counts is None:
            sources = (self._sources() for _ in self.shards)
            self._counts = tuple(
                sum(source.input(parts.places) is not None for parts in _samples(shard))
                for shard, source in zip(self.shards, sources, strict=True)
            )
        return self._counts

    def read(self, shard: int) -> Iterator[Sample | BadSample]:
        """The samples of that archive; one that cannot be used comes as the reason."""
        expected, name = self.counts[shard], self.shards[shard]
        first, number = sum(self.counts[:shard]), 0
        sources = self._sources()
        for parts in _samples(name):
            given = sources.input(parts.places)
            if given is None:
                continue
            if number == expected:
                break
            yield self._sample(sources, name, parts, given, first + number)
            number += 1
        else:
            if number == expected:
                return
        raise UserError(
            f"counts says {expected} samples, but the archive has "
            + (f"{number}" if number < expected else "more"),
            where=name,
            todo="Correct `counts`, or leave it out.",
        )

    def _sources(self) -> FieldSources:
        return FieldSources(*self._said)

    def _sample(
        self, sources: FieldSources, shard: str, parts: _Parts, given: Part, number: int
    ) -> Sample | BadSample:
        where = f"{shard}!{given.name}"
        try:
            target: dict[str, Any] = {}
            for name in sources.values:
                value = sources.value(name, parts.places, lambda part: parts.data[part.field])
                target[name] = self._value(name, value, where)
            _drop_flat_boxes(target, where)
            if sources.masked:
                mask = sources.mask(parts.places)
                if mask is None:
                    raise BadSample("the sample has no mask", kind="annotation", where=where)
                target["mask"] = _encoded(shard, mask, parts, "mask")
            x = self._input(shard, given, parts)
        except BadSample as error:
            return error
        return {"x": x, "target": target, "meta": {"index": number, "path": where}}

    def _input(self, shard: str, given: Part, parts: _Parts) -> Any:
        if given.field.endswith("txt"):
            try:
                return parts.data[given.field].decode("utf-8")
            except ValueError as error:
                where = f"{shard}!{given.name}"
                raise BadSample("the text is not UTF-8", kind="text", where=where) from error
        kind: Kind = "sound" if given.field.endswith("wav") else "image"
        return _encoded(shard, given, parts, kind)

    def _value(self, name: str, value: Any, where: str) -> Any:
        if value is None:
            raise BadSample(f"the sample has no {name}", kind="label", where=where)
        try:
            if name == "class_id":
                return self._number(value, where)
            if name in ("class_ids", "box_labels"):
                labels = value if isinstance(value, list) else [value]
                numbers = [self._number(label, where) for label in labels]
                return np.asarray(numbers, dtype=np.int64)
            if name == "value" and np.ndim(value) == 0:
                return float(value)
            columns = {"boxes": 4, "keypoints": 3}.get(name)
            found = np.asarray(value, dtype=np.float32)
            return found if columns is None else found.reshape(-1, columns)
        except (TypeError, ValueError) as error:
            raise BadSample(
                f"its {name} cannot be read ({error})", kind="annotation", where=where
            ) from error

    def _number(self, label: Any, where: str) -> int:
        known = self.classes
        if known is not None and str(label) in known:
            return known[str(label)]
        if isinstance(label, int) and (known is None or 0 <= label < len(known)) and label >= 0:
            return label
        if known is None and isinstance(label, str):
            raise UserError(
                f"the label {label} is a name, and no names are given",
                where=where,
                todo="Give `classes`.",
            )
        raise BadSample(f"the label {label} is no class", kind="label", where=where)


class _Parts(NamedTuple):
    """A sample's members: where they are and what they hold, by field."""

    places: dict[str, Part]
    data: dict[str, bytes]


def _samples(shard: str) -> Iterator[_Parts]:
    with _opened(shard) as archive, suppress(*_CUT):
        members = _members(archive)
        for _, group in groupby(members, key=lambda member: member[0].key):
            parts = list(group)
            yield _Parts(
                {part.field: part for part, _ in parts}, {part.field: data for part, data in parts}
            )


def _members(archive: tarfile.TarFile) -> Iterator[tuple[Part, bytes]]:
    for member in archive:
        part = part_of(member)
        if part is None:
            continue
        file = archive.extractfile(member)
        data = b"" if file is None else file.read()
        if len(data) < part.length:
            raise EOFError
        yield part, data


@contextmanager
def _opened(shard: str) -> Iterator[tarfile.TarFile]:
    """The archive, read from front to back."""
    if not shard.startswith(PIPE):
        with open(shard, "rb") as file, _tar(file, shard) as archive:
            yield archive
        return
    command = shard.removeprefix(PIPE)
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        finished = False
        try:
            with _tar(process.stdout, shard) as archive:
                yield archive
                finished = True
                while process.stdout.read(1 << 20):
                    pass
        finally:
            if not finished:
                process.terminate()
    if process.returncode:
        raise UserError(f"the command ended with {process.returncode}", where=shard)


def _tar(file: IO[bytes], shard: str) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r|*")
    except _CUT as error:
        raise UserError(f"not a tar archive ({error})", where=shard) from error


def _named(shards: str | Path | Sequence[str]) -> tuple[str, ...]:
    if isinstance(shards, str | Path):
        if str(shards).startswith(PIPE):
            return tuple(expand(str(shards)))
        return tuple(str(path) for path in shard_files(shards))
    if not shards:
        raise UserError("no tar archive is given")
    return tuple(str(shard) for shard in shards)


def _encoded(shard: str, part: Part, parts: _Parts, kind: Kind) -> Encoded:
    return Encoded(shard, kind, member=part.name, data=parts.data[part.field])


def _drop_flat_boxes(target: dict[str, Any], where: str) -> None:
    boxes, labels = target.get("boxes"), target.get("box_labels")
    if boxes is None or labels is None:
        return
    if len(boxes) != len(labels):
        raise BadSample("boxes and their labels are not as many", kind="annotation", where=where)
    kept = has_area(boxes)
    target["boxes"], target["box_labels"] = boxes[kept], labels[kept]
