"""Decoded pixels in packed shards on disk, shared by runs, processes and ranks.

Entries are found by the content of their source, so a moved, renamed or relabelled file is still
known and a changed one never answers with old pixels. What is missing is decoded and added in the
background. Labels are not kept here.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_whole
from cvtrainer.data.cache.byte_sizes import byte_size
from cvtrainer.data.cache.identity import (
    Form,
    content_key,
    is_settled,
    path_number,
    place_key,
)
from cvtrainer.data.cache.store import PackStore
from cvtrainer.data.decode import Decoding, Pixels, decode_image, decode_mask
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.opening import Picture, SizeNeeded, whole_picture

_FORMAT = 1


class PackedCache:
    """Keeps decoded pictures and masks in shards below `dir`, up to `max_bytes` of pixels.

    `shorter: 256` keeps pictures reduced so that their shorter side is 256 (the mean of the areas
    behind each pixel); those of samples with masks are kept in full, with their masks. Without it
    pictures are kept in full, so `decode.scaled` has no effect on them. Arrays are read-only.
    """

    def __init__(
        self,
        decoding: Decoding | None = None,
        dir: str | Path = ".cvtrainer-cache",
        *,
        shorter: int | None = None,
        max_bytes: int | str | None = None,
    ) -> None:
        if shorter is not None and shorter < 1:
            raise UserError(f"cache: shorter is {shorter}", todo="Give pixels from 1 on.")
        self.decoding = replace(decoding or Decoding(), scaled=False)
        self.shorter = shorter
        self.max_bytes = byte_size(max_bytes, "cache: packed")
        self.dir = Path(os.path.abspath(dir))
        self.folder = self.dir / hashlib.sha256(self._settings().encode()).hexdigest()[:16]
        self.waits = False
        self._stores: dict[int, PackStore] = {}

    def picture(self, encoded: Encoded, need: SizeNeeded | None = None) -> Picture:
        """The picture, whole or reduced as the settings say."""
        reduced = self.shorter is not None and need is not whole_picture
        return self.get(encoded, "small" if reduced else "image")

    def mask(self, encoded: Encoded) -> Pixels:
        """The class numbers of a mask file."""
        return self.get(encoded, "mask").pixels

    @property
    def store(self) -> PackStore:
        """This process's view of the folder; a forked process gets its own."""
        own = os.getpid()
        found = self._stores.get(own)
        if found is None:
            made = PackStore(self.folder, max_bytes=self.max_bytes, say=_say)
            found = self._stores.setdefault(own, made)
            if found is made:
                self._describe()
        return found

    def flush(self) -> None:
        """Return when everything that was decoded so far is in the shards."""
        self.store.writer.flush()

    def form_of(self, kind: str, *, whole: bool) -> Form:
        """The form that a value of that kind is kept in; `whole` where the sample has masks."""
        if kind == "mask":
            return "mask"
        return "image" if whole or self.shorter is None else "small"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stores": {}}

    def get(self, encoded: Encoded, form: Form) -> Picture:
        """The value in that form, from the shards or else decoded and kept."""
        store = self.store
        stamp = encoded.stamp()
        place = None
        if stamp is not None:
            place = place_key(encoded, stamp, form)
            found = self._by_place(store, place, encoded.name)
            if found is not None:
                return found
        data = encoded.read()
        key = content_key(data, form)
        name = None
        if place is not None and stamp is not None and is_settled(stamp):
            name = place, path_number(encoded, form)
        found = store.read(key, encoded.name)
        if found is not None:
            if name is not None:
                store.writer.note(key, name)
            return found
        made = self._decode(data, encoded.name, form)
        store.writer.keep(key, made, name, wait=self.waits)
        return made

    def _by_place(self, store: PackStore, place: bytes, name: str) -> Picture | None:
        """Without reading the file; what other processes have added counts too."""
        key = store.key_of(place)
        if key is None and store.refresh():
            key = store.key_of(place)
        return None if key is None else store.read(key, name)

    def _decode(self, data: bytes, name: str, form: Form) -> Picture:
        if form == "mask":
            pixels = decode_mask(data, name, self.decoding)
            return Picture(_solid(pixels), pixels.shape[0], pixels.shape[1])
        pixels = decode_image(data, name, self.decoding)
        height, width = pixels.shape[:2]
        if form == "small" and self.shorter is not None:
            pixels = _reduced(pixels, self.shorter)
        return Picture(_solid(pixels), height, width)

    def _settings(self) -> str:
        shown = {"format": _FORMAT, "decoding": self.decoding.key(), "shorter": self.shorter}
        return json.dumps(shown, sort_keys=True)

    def _describe(self) -> None:
        """Leave in the folder what it is for."""
        about = self.folder / "about.json"
        if about.exists():
            return
        try:
            write_whole(about, self._settings() + "\n")
        except (OSError, UserError) as error:
            _say(f"cache: {error}; going on without")
            self.store.writer.closed = True


def _reduced(pixels: Pixels, shorter: int) -> Pixels:
    """With the shorter side that long, each pixel the mean of its area; small ones stay."""
    import cv2

    height, width = pixels.shape[:2]
    if min(height, width) <= shorter:
        return pixels
    share = shorter / min(height, width)
    size = max(shorter, round(width * share)), max(shorter, round(height * share))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _solid(pixels: Pixels) -> Pixels:
    """In one piece and read-only, because it is still being written when it is handed out."""
    whole = np.ascontiguousarray(pixels)
    whole.flags.writeable = False
    return whole


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
