"""The cache in memory: each content once, bounded, shared by threads, never stale."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.cache import MemoryCache, memory
from cvtrainer.data.decode import Decoding, read_image
from cvtrainer.data.encoded import Encoded
from tests.data.cache.pictures import make_files, save_jpeg

BYTES = 40 * 56 * 3


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is decoded from now on."""
    names: list[str] = []
    real = memory.decode_image

    def noting(data: bytes, name: str, decoding: Decoding) -> object:
        names.append(Path(name).name)
        return real(data, name, decoding)

    monkeypatch.setattr(memory, "decode_image", noting)
    return names


def test_each_content_is_decoded_once(tmp_path: Path, decoded: list[str]) -> None:
    path = save_jpeg(tmp_path / "a.jpg", 1)
    copy = Path(shutil.copy(path, tmp_path / "b.jpg"))
    cache = MemoryCache()
    for one in (path, copy, path):
        found = cache.picture(Encoded(str(one)))
        np.testing.assert_array_equal(found.pixels, read_image(path))
        assert not found.pixels.flags.writeable
    assert decoded == ["a.jpg"]
    assert cache.size == BYTES
    save_jpeg(path, 2)
    np.testing.assert_array_equal(cache.picture(Encoded(str(path))).pixels, read_image(path))


def test_it_holds_no_more_than_it_may(tmp_path: Path, decoded: list[str]) -> None:
    files = make_files(tmp_path, 6)
    cache = MemoryCache(max_bytes="20 KiB")
    for _ in range(2):
        for path in files.paths:
            np.testing.assert_array_equal(cache.picture(Encoded(path)).pixels, read_image(path))
    assert 2 * BYTES <= cache.size <= 20 * 1024
    assert 6 < len(decoded) < 12
    with pytest.raises(UserError, match="max_bytes"):
        MemoryCache(max_bytes="much")


def test_threads_share_it_and_other_processes_begin_anew(tmp_path: Path) -> None:
    files = make_files(tmp_path, 6)
    cache = MemoryCache(Decoding(truncated="load"), max_bytes=10**6)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: cache.picture(Encoded(path)), files.paths * 5))
    sizes = [read_image(path).nbytes for path in files.paths]
    assert cache.size == sum(sizes)
    other = pickle.loads(pickle.dumps(cache))
    assert (other.size, other.max_bytes, other.decoding) == (0, 10**6, cache.decoding)
    assert bool(cache)
