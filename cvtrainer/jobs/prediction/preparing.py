"""One input as the network takes it: decoded, transformed and tensorized as validation does it.

The parts are the run's own, built from its config; nothing is prepared a second way. Only what the
sample's labels would need is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import evaluation_block
from cvtrainer.core.input_spec import Size, fitting
from cvtrainer.data.collate import Collate, collate
from cvtrainer.data.decode import image_size
from cvtrainer.data.decode.sound import decode_sound
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.opening import FilePixels, PixelSource, open_record
from cvtrainer.data.pipeline import DEVICE_PLACE
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.sample import BadSample, Sample
from cvtrainer.data.tensorizer import (
    AudioTensorizer,
    LogMelTensorizer,
    NumbersTensorizer,
    SequenceTensorizer,
    Tensorizer,
    TextTensorizer,
    VectorTensorizer,
)
from cvtrainer.data.transforms import Transforms
from cvtrainer.data.transforms.way_back import WayBack, marked, unmarked
from cvtrainer.experiment import Experiment
from cvtrainer.jobs.prediction.inputs import Input, Taken
from cvtrainer.jobs.prediction.rows import Columns
from cvtrainer.pictures.resize import resized
from cvtrainer.protocols import Batch

_NO_PICTURES: dict[type, int | None] = {
    VectorTensorizer: 1,
    NumbersTensorizer: 1,
    SequenceTensorizer: 2,
    AudioTensorizer: None,
    LogMelTensorizer: None,
    TextTensorizer: None,
}
_KEY = DrawKey(0, 0, 0)


@dataclass(frozen=True)
class Prepared:
    """The sample that the network gets, the picture before, and the way back to it."""

    sample: Sample
    way: WayBack | str | None
    size: tuple[int, int] | None


class Preparation:
    """What one split of a stage does to its samples."""

    def __init__(
        self,
        pixels: PixelSource,
        transforms: Transforms | None,
        tensorizer: Callable[[Sample], Sample] | None,
        finish: Callable[[Batch], Batch] | None,
        sound: Mapping[str, Any],
        channels: int | None,
        columns: Columns | None = None,
        *,
        fit: Size | None = None,
    ) -> None:
        self.pixels = pixels
        self.transforms = transforms
        mapping = getattr(tensorizer, "mapping", None)
        self.field = _field(mapping)
        self._mapping: Mapping[str, Any] = mapping or {}
        self.tensorizer = Tensorizer({self.field: mapping[self.field]}) if mapping else tensorizer
        kind = type(self._mapping.get(self.field))
        self.taken = Taken(
            kind not in _NO_PICTURES,
            _NO_PICTURES.get(kind),
            kind is TextTensorizer,
            columns,
            self.field,
        )
        self._fit = None if fit is None else fitting(fit)
        self._finish = finish
        self._sound = sound
        self._channels = channels if self.taken.pictures else None
        self._collate = Collate(ragged={**collate.ragged, **getattr(self.tensorizer, "ragged", {})})

    @classmethod
    def of(
        cls,
        stage: Mapping[str, Any],
        experiment: Experiment,
        learnt: Mapping[str, Any] | None,
        network: nn.Module,
        *,
        fit: Size | None = None,
    ) -> Preparation:
        """The preparation of the stage's evaluation split; pictures of other sizes `fit` there."""
        block = evaluation_block(stage)
        if block is None:
            raise UserError(
                "no val or test split says how to prepare an input",
                where=f"stages.{stage['name']}.dataloader",
                todo="Write one with the transforms and the tensorizer of evaluation.",
            )
        data = experiment.data
        node = block.get("tensorizer")
        tensorizer: Any = experiment.builder.build(node) if node else None
        if learnt is not None and hasattr(tensorizer, "learn"):
            tensorizer.load_state_dict(learnt)
        given = (block.get("dataset") or {}).get("kwargs") or {}
        return cls(
            FilePixels(data.decoding(block)),
            data.transforms(block),
            tensorizer,
            data.device_steps(block),
            {"rate": given.get("sample_rate"), "mono": bool(given.get("mono"))},
            channels_of(network),
            Columns.of(block.get("dataset") or {}),
            fit=fit,
        )

    @property
    def thread_safe(self) -> bool:
        """Whether several inputs may be prepared at once."""
        parts = (self.transforms, self.tensorizer)
        return all(part is None or getattr(part, "thread_safe", False) is True for part in parts)

    def prepare(self, one: Input, *, locate: bool) -> Prepared:
        """The sample of that input; `locate` asks for the way back to its picture."""
        if isinstance(one.value, Exception):
            raise one.value
        meta = {"index": 0, "path": one.name}
        if one.ready:
            _refuse_no_numbers(one.value)
            return Prepared({self.field: one.value, "meta": meta}, None, None)
        value = self._read(one.value)
        record: Sample = {self.field: value, **one.more, "meta": meta}
        size = _size(value) if locate and self.taken.pictures else None
        if size is not None:
            record = marked(record, *size)
        sample = open_record(record, self.pixels, self._need())
        if self._channels is not None:
            sample[self.field] = _with_channels(sample[self.field], self._channels)
        if self.transforms is not None:
            sample = self.transforms(sample, _KEY)
        way: WayBack | str | None = None
        shape = np.shape(sample[self.field])[:2]
        if size is not None:
            sample, way = unmarked(sample, self.field, *size)
        if self._fit is not None and _is_picture(sample[self.field]):
            sample[self.field] = resized(sample[self.field], self._fit)
        tensorizer = self._tensorizer(one.more)
        if tensorizer is not None:
            sample = tensorizer(sample)
        made = sample[self.field]
        if isinstance(way, WayBack) and isinstance(made, Tensor) and made.ndim == 3:
            height, width = made.shape[-2:]
            return Prepared(sample, way.of_resized(_two(shape), (height, width)), (height, width))
        return Prepared(sample, way, None)

    def _tensorizer(self, more: Mapping[str, Any]) -> Callable[[Sample], Sample] | None:
        """That of the input, and of the other fields that came with it."""
        known = [name for name in (self.field, *more) if name in self._mapping]
        if not more or not self._mapping:
            return self.tensorizer
        return Tensorizer({name: self._mapping[name] for name in known})

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """A batch of such samples."""
        made = self._collate(samples)
        seeds = [DrawKey(0, 0, place).at(DEVICE_PLACE) for place in range(len(samples))]
        return {**made, "meta": {**made["meta"], "draw_seeds": seeds}}

    def finish(self, batch: Batch) -> Batch:
        """The batch, on its device already, after the split's device steps."""
        return batch if self._finish is None else self._finish(batch)

    def _read(self, value: Any) -> Any:
        """The bytes of a file, read once; sounds as their data set reads them."""
        if not isinstance(value, Encoded):
            return value
        if value.kind == "sound":
            return decode_sound(value.read(), value.name, **self._sound).samples
        return Encoded(value.path, value.kind, data=value.read())

    def _need(self) -> Any:
        if self.transforms is None:
            return None
        smallest = self.transforms.smallest_needed
        return lambda height, width: smallest(height, width, _KEY)


def _field(mapping: Mapping[str, Any] | None) -> str:
    if mapping is None:
        return "x"
    found = next((name for name in ("x", "image") if name in mapping), None)
    if found is None:
        raise UserError(
            f"the tensorizer's mapping has no x, but {', '.join(mapping)}",
            todo="Name the field of the network's input x.",
        )
    return found


def _size(value: Any) -> tuple[int, int] | None:
    """Height and width of the picture as it is in its file."""
    if isinstance(value, Encoded):
        return image_size(value.read(), value.name)
    return _two(value.shape[:2]) if np.ndim(value) == 3 else None


def _refuse_no_numbers(value: Any) -> None:
    """Whatever the network made of them would look like an answer."""
    if isinstance(value, Tensor) and not bool(value.isfinite().all()):
        raise BadSample("it holds values that are not finite", kind="value")


def _is_picture(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype == np.uint8


def _two(sizes: Sequence[int]) -> tuple[int, int]:
    height, width = sizes
    return int(height), int(width)


def channels_of(network: nn.Module) -> int | None:
    """How many channels the first convolution of the network takes."""
    first = next((part for part in network.modules() if isinstance(part, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def _with_channels(pixels: Any, channels: int) -> Any:
    """Grey for a network that takes one channel, three equal ones for one that takes colours."""
    held = pixels.shape[2] if np.ndim(pixels) == 3 else 1
    if held == channels or {held, channels} - {1, 3}:
        return pixels
    if channels == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None]
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
