"""From numbers to a batch: load, transform, tensorize, mix, collate, in that order, for everyone.

The same code runs in the process that trains, in threads and in workers, and depends on nothing
but the request and the seed. A sample that cannot be used is replaced by another that follows from
its number alone, so that nobody's discovery changes anybody's batch. Other exceptions carry the
name of the sample; a worker sends them home as a value, so that a user's error stays one line.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from PIL import Image

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.data.bad_samples import BadRecord, replacement
from cvtrainer.data.batch_memory import BatchRows
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.mixing.mixer import Mixer
from cvtrainer.data.opening import FilePixels, PixelSource, SizeNeeded, open_record
from cvtrainer.data.randomness import LOAD_PLACE, DrawKey, generator, seeded_globals
from cvtrainer.data.sample import BadSample, Sample, as_sample, sample_name
from cvtrainer.data.sampling import BatchRequest

MIX_PLACE = 1 << 16
"""The place of the first mixer; transforms have the places before."""

DEVICE_PLACE = 1 << 17
"""The place of what happens on the device."""

_TRIES = 100
SPOILED = (
    BadSample,
    OSError,
    EOFError,
    Image.DecompressionBombError,
    zlib.error,
    struct.error,
)
"""What says that this sample cannot be used; anything else is somebody's bug and is raised."""


class Dataset(Protocol):
    """Anything with a length that gives a record for a number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Transform = Callable[[Sample, DrawKey], Sample]
FieldsToTensors = Callable[[Sample], Sample]
CollateSamples = Callable[[Sequence[Sample]], Any]


@dataclass(frozen=True)
class Parts:
    """What batches are made with; the order of the fields is the order of the steps."""

    dataset: Dataset
    pixels: PixelSource = field(default_factory=FilePixels)
    transforms: Transform | None = None
    tensorizer: FieldsToTensors | None = None
    mixers: tuple[Mixer, ...] = ()
    collate: CollateSamples | None = None


class Made(NamedTuple):
    """A batch, and the samples that were replaced in it."""

    batch: Any
    bad: tuple[BadRecord, ...] = ()


class BatchMaker:
    """Makes the batch of a request.

    `known_bad` says which numbers are not worth reading; the batches are the same without it.
    `with_draw_seeds` puts a seed per sample into `meta` for what is drawn on the device.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        seed: int,
        known_bad: Callable[[str], bool] | None = None,
        with_draw_seeds: bool = False,
    ) -> None:
        assert parts.collate is not None, "parts need a collate"
        self.parts = parts
        self.seed = seed
        self._collate = parts.collate
        self._known_bad = known_bad
        self._with_draw_seeds = with_draw_seeds
        self._name = type(parts.dataset).__name__
        self._seeds_loading = bool(getattr(parts.dataset, "draws_randomly", True))
        self._record = getattr(parts.dataset, "record", None) or parts.dataset.__getitem__
        on_samples = [mixer for mixer in parts.mixers if mixer.place == "samples"]
        on_tensors = [mixer for mixer in parts.mixers if mixer.place == "tensors"]
        self._tensorizes_late = bool(on_samples) and parts.tensorizer is not None
        self._levels: tuple[Mixer | None, ...] = (
            *on_samples,
            *((None,) if self._tensorizes_late else ()),
            *on_tensors,
        )

    def make(self, request: BatchRequest) -> Made:
        """The batch of that request."""
        bad: list[BadRecord] = []
        if self._levels:
            mixing = _Mixing(self, request, bad)
            samples = [mixing.result(at, len(self._levels)) for at in mixing.own_places()]
            return self.join(samples, request, bad)
        rows, samples = BatchRows(len(request.indices)), []
        pairs = zip(request.positions, request.indices, strict=True)
        for place, (position, index) in enumerate(pairs):
            with rows.making(place):
                samples.append(self.sample(index, request.epoch, position, bad))
        with rows.joining():
            return self.join(samples, request, bad)

    def join(
        self, samples: Sequence[Sample], request: BatchRequest, bad: Sequence[BadRecord]
    ) -> Made:
        """The batch of these finished samples."""
        batch = self._collate(samples)
        if isinstance(batch, dict):
            self._complete(batch, request)
        return Made(batch, tuple(bad))

    def sample(self, index: int, epoch: int, position: int, bad: list[BadRecord]) -> Sample:
        """The finished sample for that number at that position, or one in its place."""
        key = DrawKey(self.seed, epoch, position)
        number = index
        for attempt in range(1, _TRIES + 1):
            try:
                return self._attempt(number, key)
            except SPOILED as error:
                file, reason, kind = self._verdict(error, number)
                bad.append(BadRecord(index=number, file=file, kind=kind, reason=reason))
            number = replacement(self.seed, index, attempt, len(self.parts.dataset))
        raise RunFailed(
            f"no usable sample found in {_TRIES} tries; the last: {bad[-1].reason}",
            where=bad[-1].file,
            todo="Look at the data: cvtrainer data doctor lists what is wrong.",
        )

    def tensors(self, sample: Sample) -> Sample:
        """The sample through the tensorizer."""
        return sample if self.parts.tensorizer is None else self.parts.tensorizer(sample)

    @property
    def levels(self) -> tuple[Mixer | None, ...]:
        """What follows loading in a mixed batch: mixers, and None where tensors are made."""
        return self._levels

    def _attempt(self, number: int, key: DrawKey) -> Sample:
        where = f"{self._name}[{number}]"
        try:
            seeded = seeded_globals(key.at(LOAD_PLACE)) if self._seeds_loading else nullcontext()
            with seeded:
                record = as_sample(self._record(number), number, self._name)
            where = sample_name(record)
            self._refuse_known(record)
            sample = open_record(record, self.parts.pixels, self._size_needed(key))
            if self.parts.transforms is not None:
                sample = self.parts.transforms(sample, key)
            return sample if self._tensorizes_late else self.tensors(sample)
        except (UserError, *SPOILED):
            raise
        except Exception as error:
            error.add_note(f"while making sample {number} ({where})")
            raise

    def _size_needed(self, key: DrawKey) -> SizeNeeded | None:
        smallest = getattr(self.parts.transforms, "smallest_needed", None)
        if smallest is None:
            return None
        return lambda height, width: smallest(height, width, key)

    def _refuse_known(self, record: Mapping[str, Any]) -> None:
        """A file of the quarantine is not read again."""
        picture = record.get("x")
        if self._known_bad is None or not isinstance(picture, Encoded):
            return
        if self._known_bad(picture.name):
            raise BadSample("in quarantine from an earlier run", kind="known", where=picture.name)

    def _verdict(self, error: BaseException, number: int) -> tuple[str, str, str]:
        """File, reason and kind of what is wrong; only what lies in the file is a lasting fault."""
        if isinstance(error, BadSample):
            return error.where or f"{self._name}[{number}]", error.what, error.kind
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        file = getattr(error, "filename", None) or f"{self._name}[{number}]"
        return str(file), reason, "missing" if isinstance(error, FileNotFoundError) else "passing"

    def _complete(self, batch: dict[str, Any], request: BatchRequest) -> None:
        more: dict[str, Any] = {}
        if request.weight != 1.0:
            more["weight"], more["of"] = request.weight, request.of
        if self._with_draw_seeds:
            more["draw_seeds"] = [
                DrawKey(self.seed, request.epoch, position).at(DEVICE_PLACE)
                for position in request.positions
            ]
        if more:
            batch["meta"] = {**(batch.get("meta") or {}), **more}


class _Mixing:
    """The samples of one global batch at each level, made when somebody needs them.

    Places count from the beginning of the global batch, so that partners are the same whoever
    makes which part of it; a partner that belongs to another rank is loaded here too.
    """

    def __init__(self, maker: BatchMaker, request: BatchRequest, bad: list[BadRecord]) -> None:
        self._maker = maker
        self._request = request
        self._bad = bad
        self._made: dict[tuple[int, int], Sample] = {}

    def own_places(self) -> list[int]:
        """The places of the request's own samples."""
        return [position - self._request.begin for position in self._request.positions]

    def result(self, place: int, level: int) -> Sample:
        """The sample at that place after that many levels."""
        known = self._made.get((place, level))
        if known is None:
            known = self._made[place, level] = self._make(place, level)
        return known

    def _make(self, place: int, level: int) -> Sample:
        request = self._request
        position = request.begin + place
        if level == 0:
            number = request.batch_indices[place]
            return self._maker.sample(number, request.epoch, position, self._bad)
        own = self.result(place, level - 1)
        mixer = self._maker.levels[level - 1]
        if mixer is None:
            return self._maker.tensors(own)
        key = DrawKey(self._maker.seed, request.epoch, position)
        rng = generator(key.at(MIX_PLACE + level))
        places = mixer.partners(rng, place, len(request.batch_indices))
        if not places:
            return own
        return mixer.mix(own, [self.result(at, level - 1) for at in places], rng)
