"""The split that measures a stage: its batches as training evaluated them, and each sample's file.

An artefact is fed from the bytes of files, by its own input spec; what it says is measured with the
labels of the very batch that the trained model got.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import evaluation_block
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.data.decode import Decoding, decode_image
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.pipeline import Dataset
from cvtrainer.data.splits.subset import Subset
from cvtrainer.ddp.world import World
from cvtrainer.deploy.contract import TAKES
from cvtrainer.engine.prepare import to_device
from cvtrainer.experiment import Surroundings
from cvtrainer.jobs.export.stratified import stratified
from cvtrainer.jobs.load import Trained
from cvtrainer.pictures.prepare import handed
from cvtrainer.protocols import Batch, Stream

_PHASES = ("val", "test")


@dataclass
class Validation:
    """`files` gives the picture files of a batch's samples; `whole` is how many samples the split
    has, where only some of them are looked at."""

    phase: str
    stream: Stream
    dataset: Dataset
    name: str
    notes: list[str]
    whole: int | None = None

    @classmethod
    def of(
        cls, trained: Trained, name: str, *, split: str | None = None, subset: int | None = None
    ) -> Validation:
        """Of the split that the stage evaluates on, or of that one; `subset` is so many samples of
        it, each class in its proportion and the same every time."""
        stage = trained.stage
        loaders = stage.get("dataloader") or {}
        block = evaluation_block(stage) if split is None else loaders.get(split)
        if block is None or split == "train":
            raise UserError(
                f"artefacts are not measured on {split}",
                where=f"stages.{stage['name']}.dataloader",
                todo=f"There is {', '.join(one for one in _PHASES if loaders.get(one)) or 'none'}.",
            )
        phase = next(one for one in _PHASES if loaders.get(one) is block)
        notes: list[str] = []
        around = Surroundings(
            run=None,
            world=World(),
            seed=0,
            device=str(trained.device),
            classes=trained.classes,
            learnt=trained.state.get("learnt"),
            phases=(phase,),
            say=notes.append,
        )
        data = trained.experiment.data
        dataset = data.dataset(block, phase, trained.classes)
        length = len(dataset)
        if subset is None or subset >= length:
            return cls(phase, data.stream(block, phase, around), dataset, name, notes)
        labels = getattr(dataset, "labels", None)
        numbers = np.sort(stratified(labels, length, subset))

        def part(every: Any) -> Dataset:
            return Subset(every, numbers)

        stream = data.stream(block, phase, around, part)
        return cls(phase, stream, part(dataset), name, notes, length)

    def batches(self, device: Any) -> Iterator[Batch]:
        """Every sample once, on the device and after the split's device steps."""
        for batch in self.stream.epoch(1):
            finish = getattr(self.stream, "finish", None)
            moved = to_device(batch, device)
            yield moved if finish is None else finish(moved)

    def files(self, batch: Batch) -> list[bytes]:
        """The bytes of the picture files, in the batch's order."""
        numbers = batch["meta"]["index"]
        return [picture_bytes(record_of(self.dataset, int(one)), self.name) for one in numbers]

    def file(self, batch: Batch, place: int) -> bytes:
        """That of one sample."""
        number = int(batch["meta"]["index"][place])
        return picture_bytes(record_of(self.dataset, number), self.name)

    def names(self, batch: Batch) -> list[str]:
        """How messages call its samples."""
        return [str(name) for name in batch["meta"]["path"]]

    def close(self) -> None:
        """Ends what reads ahead."""
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()


def record_of(dataset: Dataset, number: int) -> Mapping[str, Any]:
    """A sample with its values still in their files, where the data set can give it so."""
    record = getattr(dataset, "record", None) or dataset.__getitem__
    found: Mapping[str, Any] = record(number)
    return found


def picture_bytes(record: Mapping[str, Any], name: str) -> bytes:
    """The picture of a record as a file: its own, or a PNG of pixels that never were in one."""
    value = record.get(name, record.get("image"))
    if isinstance(value, Encoded):
        return value.read()
    picture = value if isinstance(value, Image.Image) else _image_of(value, name)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _image_of(value: Any, name: str) -> Image.Image:
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise UserError(
            f"the field {name} holds {pixels.dtype} {list(pixels.shape)}, not pixels",
            todo="Only stages on pictures can be exported with a proof from files.",
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(pixels)


def picture_inputs(data: bytes, name: str, spec: InputSpec, takes: str = TAKES[0]) -> NDArray[Any]:
    """A picture file as the artefact `takes` it, by nothing but the input spec."""
    rules = Decoding(truncated=spec.truncated, max_pixels=spec.max_pixels)  # type: ignore[arg-type]
    return handed(decode_image(data, name, rules), spec, takes)


def shape_of(batch: Batch, name: str) -> Sequence[int]:
    """Channels, height and width of the batch's pictures."""
    return tuple(int(length) for length in batch[name].shape[1:])
