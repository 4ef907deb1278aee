"""Files to arrays: pictures to upright RGB, masks to class numbers, by one rule per kind."""

from cvtrainer.data.decode.images import (
    decode_image,
    decode_mask,
    image_size,
    read_image,
    read_mask,
    read_size,
)
from cvtrainer.pictures.decoding import IMAGE_EXTENSIONS
from cvtrainer.pictures.rules import RULES, Decoding, Pixels, to_rgb

__all__ = [
    "IMAGE_EXTENSIONS",
    "RULES",
    "Decoding",
    "Pixels",
    "decode_image",
    "decode_mask",
    "image_size",
    "read_image",
    "read_mask",
    "read_size",
    "to_rgb",
]
