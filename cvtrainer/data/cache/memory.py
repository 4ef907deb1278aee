"""Decoded pixels in this process's memory.

Threads share them; worker processes have their own each. Nothing is thrown out: when the memory is
full, the pictures that are in it stay, because an epoch asks for each once and an older one is as
likely to be asked for next as a newer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from cvtrainer.data.cache.byte_sizes import byte_size
from cvtrainer.data.cache.identity import Form, content_key, is_settled, place_key
from cvtrainer.data.decode import Decoding, Pixels, decode_image, decode_mask
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.opening import Picture, SizeNeeded

_SHARE = 4
"""Without `max_bytes`, one part in so many of the machine's memory."""


class MemoryCache:
    """Keeps decoded pictures and masks in memory, up to `max_bytes` of pixels.

    Pictures are kept in full, so `decode.scaled` has no effect on them. The arrays it gives are
    read-only, because everybody gets the same ones.
    """

    def __init__(
        self, decoding: Decoding | None = None, *, max_bytes: int | str | None = None
    ) -> None:
        self.decoding = decoding or Decoding()
        self.max_bytes = byte_size(max_bytes, "cache: ram") or _memory() // _SHARE
        self.size = 0
        self._keys: dict[bytes, bytes] = {}
        self._kept: dict[bytes, Picture] = {}
        self._lock = threading.Lock()

    def picture(self, encoded: Encoded, need: SizeNeeded | None = None) -> Picture:
        """The whole picture."""
        return self._get(encoded, "image", decode_image)

    def mask(self, encoded: Encoded) -> Pixels:
        """The class numbers of a mask file."""
        return self._get(encoded, "mask", decode_mask).pixels

    def __getstate__(self) -> dict[str, Any]:
        """The settings; a process that starts afresh fills a memory of its own."""
        return {"decoding": self.decoding, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _get(
        self, encoded: Encoded, form: Form, decode: Callable[[bytes, str, Decoding], Pixels]
    ) -> Picture:
        stamp = encoded.stamp()
        place = None if stamp is None else place_key(encoded, stamp, form)
        if place is not None and (key := self._keys.get(place)) is not None:
            return self._kept[key]
        data = encoded.read()
        key = content_key(data, form)
        found = self._kept.get(key)
        if found is None:
            pixels = decode(data, encoded.name, self.decoding)
            found = Picture(pixels, pixels.shape[0], pixels.shape[1])
            if not self._keep(key, found):
                return found
        if place is not None and stamp is not None and is_settled(stamp):
            self._keys[place] = key
        return found

    def _keep(self, key: bytes, picture: Picture) -> bool:
        with self._lock:
            if key in self._kept:
                return True
            if self.size + picture.pixels.nbytes > self.max_bytes:
                return False
            picture.pixels.flags.writeable = False
            self.size += picture.pixels.nbytes
            self._kept[key] = picture
            return True


def _memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
