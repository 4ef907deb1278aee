"""Pictures: an artefact is fed from the bytes of their files, by nothing but its input spec."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.data.decode import Decoding, decode_image
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.pipeline import SPOILED, Dataset
from cvtrainer.deploy.contract import TAKES
from cvtrainer.jobs.export.stratified import stratified
from cvtrainer.jobs.export.validation import Validation, training_block
from cvtrainer.jobs.load import Trained
from cvtrainer.pictures.prepare import handed
from cvtrainer.protocols import Batch

_BATCH = 16


@dataclass(frozen=True)
class PictureFeed:
    """See `feed.Feed`."""

    spec: InputSpec
    source: ClassVar[str] = "from file bytes"
    takes: ClassVar[str] = TAKES[0]
    free: ClassVar[tuple[int, ...]] = ()

    def fitted(self, trained: Trained, validation: Validation) -> PictureFeed:
        """Channels and size are those of the evaluation split."""
        batch = validation.first(trained.device)
        channels, height, width = (int(length) for length in batch[self.spec.name].shape[1:])
        return PictureFeed(self.spec.changed(channels=channels).fitted((height, width)))

    def rows(self, validation: Validation, batch: Batch, takes: str) -> list[NDArray[Any]]:
        return [
            self._made(self._file(validation.dataset, int(number)), name, takes)
            for number, name in zip(batch["meta"]["index"], validation.names(batch), strict=True)
        ]

    def pixels(self, validation: Validation, batch: Batch, place: int) -> NDArray[Any]:
        data = self._file(validation.dataset, int(batch["meta"]["index"][place]))
        return self._made(data, validation.names(batch)[place], TAKES[1])

    def sample(self, trained: Trained, count: int, takes: str) -> Iterator[Tensor]:
        block = training_block(trained)
        dataset: Any = trained.experiment.data.dataset(block, "train", trained.classes)
        chosen = stratified(getattr(dataset, "labels", None), len(dataset), count)
        rows: list[NDArray[Any]] = []
        for number in chosen:
            record = _record(dataset, int(number))
            try:
                rows.append(self._made(picture_bytes(record, self.spec.name), _name(record), takes))
            except SPOILED:  # a file that training passed over, too
                continue
            if len(rows) == (1 if takes == "picture" else _BATCH):
                yield torch.from_numpy(np.stack(rows))
                rows = []
        if rows:
            yield torch.from_numpy(np.stack(rows))

    def _file(self, dataset: Dataset, number: int) -> bytes:
        return picture_bytes(_record(dataset, number), self.spec.name)

    def _made(self, data: bytes, name: str, takes: str) -> NDArray[Any]:
        """A picture file as the artefact `takes` it."""
        truncated: Any = self.spec.truncated
        rules = Decoding(truncated=truncated, max_pixels=self.spec.max_pixels)
        return handed(decode_image(data, name, rules), self.spec, takes)


def picture_bytes(record: Mapping[str, Any], name: str) -> bytes:
    """The picture of a record as a file: its own, or a PNG of pixels that never were in one."""
    value = record.get(name, record.get("image"))
    if isinstance(value, Encoded):
        return value.read()
    picture = value if isinstance(value, Image.Image) else _image_of(value, name)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _record(dataset: Dataset, number: int) -> Mapping[str, Any]:
    """A sample with its values still in their files, where the data set can give it so."""
    record = getattr(dataset, "record", None) or dataset.__getitem__
    found: Mapping[str, Any] = record(number)
    return found


def _image_of(value: Any, name: str) -> Image.Image:
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise UserError(
            f"the field {name} holds {pixels.dtype} {list(pixels.shape)}, not pixels",
            todo="Only bytes of pictures can go through an image tensorizer on a device.",
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(pixels)


def _name(record: Mapping[str, Any]) -> str:
    return str((record.get("meta") or {}).get("path", "a training sample"))
