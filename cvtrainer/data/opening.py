"""From a record with values still in their files to a sample of arrays.

The one place where a data set's `Encoded` values are decoded. Who wants a cache or scaled decoding
passes another source; everything else about the sample stays as the data set said it. A picture
that is not of the annotated size, or a mask that is not of its picture's size, is a bad sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from PIL import Image

from cvtrainer.data.decode import Decoding, Pixels, decode_image, decode_mask, image_size, to_rgb
from cvtrainer.data.decode.sound import decode_sound
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample, Sample, sample_name
from cvtrainer.data.transforms.scene import scaled_sample

SizeNeeded = Callable[[int, int], tuple[int, int] | None]
"""From a picture's height and width to the smallest size that will do; None: all of it."""


def whole_picture(height: int, width: int) -> None:
    """The need of a sample whose masks have a pixel for each of the picture's."""


_PICTURES = ("x", "image")
_MASKS = ("mask", "masks")


class Picture(NamedTuple):
    """Pixels, and the size of the picture in its file when upright; the pixels may be fewer."""

    pixels: Pixels
    height: int
    width: int


class PixelSource(Protocol):
    """Where pixels come from: files, or a cache before them."""

    def picture(self, encoded: Encoded, need: SizeNeeded | None) -> Picture: ...

    def mask(self, encoded: Encoded) -> Pixels: ...


class FilePixels:
    """Decodes files, every time."""

    def __init__(self, decoding: Decoding | None = None) -> None:
        self.decoding = decoding or Decoding()

    def picture(self, encoded: Encoded, need: SizeNeeded | None = None) -> Picture:
        """The picture; as few pixels as `need` asks for where the decoding allows that."""
        data = encoded.read()
        if need in (None, whole_picture) or not self.decoding.scaled:
            pixels = decode_image(data, encoded.name, self.decoding)
            return Picture(pixels, pixels.shape[0], pixels.shape[1])
        height, width = image_size(data, encoded.name, self.decoding)
        pixels = decode_image(data, encoded.name, self.decoding, at_least=need(height, width))
        return Picture(pixels, height, width)

    def mask(self, encoded: Encoded) -> Pixels:
        """The class numbers of a mask file."""
        return decode_mask(encoded.read(), encoded.name, self.decoding)


def open_record(
    record: Mapping[str, Any], source: PixelSource, need: SizeNeeded | None = None
) -> Sample:
    """The sample of that record, with everything decoded."""
    sample = dict(record)
    target = sample.get("target")
    holders = [sample]
    if isinstance(target, Mapping):
        sample["target"] = dict(target)
        holders.append(sample["target"])
    if any(name in holder for holder in holders for name in _MASKS):
        need = whole_picture
    size: tuple[int, int] | None = None
    for holder in holders:
        for name, value in list(holder.items()):
            if isinstance(value, Image.Image) and name in _PICTURES:
                holder[name] = to_rgb(value)
            if not isinstance(value, Encoded):
                continue
            if value.kind == "sound":
                sound = decode_sound(value.read(), value.name)
                holder[name] = sound.samples
                sample["meta"] = {**sample.get("meta", {}), "sample_rate": sound.rate}
            elif value.kind == "mask":
                holder[name] = source.mask(value)
            else:
                picture = source.picture(value, need)
                holder[name] = picture.pixels
                if name in _PICTURES:
                    size = picture.height, picture.width
    return sample if size is None else _fitting(sample, holders, size)


def _fitting(sample: Sample, holders: list[dict[str, Any]], size: tuple[int, int]) -> Sample:
    """The sample with annotations in the frame of the pixels that were read."""
    meta = dict(sample.get("meta") or {})
    annotated = meta.pop("annotated_size", None)
    sample["meta"] = meta
    if annotated is not None and None not in annotated and tuple(annotated) != size:
        turned = tuple(annotated)[::-1] == size
        raise BadSample(
            f"the picture is {size[1]}x{size[0]}, but annotated as {annotated[1]}x{annotated[0]}"
            + (" (its EXIF orientation turns it)" if turned else ""),
            kind="size",
            where=sample_name(sample),
            todo="Annotate the picture as it is seen.",
        )
    name = next(name for name in _PICTURES if name in sample)
    pixels = sample[name]
    for holder in holders:
        mask = holder.get("mask")
        if mask is not None and getattr(mask, "shape", size)[:2] != pixels.shape[:2]:
            raise BadSample(
                f"the mask is {mask.shape[1]}x{mask.shape[0]}, but the picture "
                f"{pixels.shape[1]}x{pixels.shape[0]}",
                kind="size",
                where=sample_name(sample),
            )
    if pixels.shape[:2] == size:
        return sample
    return scaled_sample(sample, *size, *pixels.shape[:2])
