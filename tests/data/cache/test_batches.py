"""Batches from a cache are those without one, whoever makes them and however full it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.data.cache import MemoryCache, PackedCache
from cvtrainer.data.decode import Decoding
from cvtrainer.data.opening import FilePixels
from tests.data.cache.pictures import make_files, settle, stream

Make = Callable[[Path], Any]

CACHES: dict[str, Make] = {
    "ram": lambda _: MemoryCache(),
    "ram_small": lambda _: MemoryCache(max_bytes="40 kB"),
    "packed": lambda path: PackedCache(dir=path),
    "packed_small": lambda path: PackedCache(dir=path, max_bytes=40_000),
}
WHO: dict[str, dict[str, Any]] = {
    "alone": {},
    "threads": {"num_workers": 2, "workers": "threads"},
    "fork": {"num_workers": 2, "workers": "processes", "multiprocessing_context": "fork"},
    "spawn": {"num_workers": 1, "workers": "processes", "multiprocessing_context": "spawn"},
}


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit, names and all."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("kind", CACHES)
def test_epochs_fresh_full_and_resumed(tmp_path: Path, kind: str, masks: bool) -> None:
    files = make_files(tmp_path / "files", 14, masks=masks)
    settle(files.folder)
    plain = stream(files, FilePixels())
    cached = stream(files, CACHES[kind](tmp_path / "cache"))
    for epoch in (1, 2):
        for one, other in zip(plain.epoch(epoch), cached.epoch(epoch), strict=True):
            assert_same(one, other)
    resumed = stream(files, CACHES[kind](tmp_path / "cache"))
    for one, other in zip(plain.epoch(2, start=2), resumed.epoch(2, start=2), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("kind", ["ram", "packed"])
def test_whoever_makes_them(tmp_path: Path, kind: str, who: str) -> None:
    files = make_files(tmp_path / "files", 14, masks=True)
    settle(files.folder)
    plain = stream(files, FilePixels())
    cached = stream(files, CACHES[kind](tmp_path / "cache"), **WHO[who])
    assert cached.mode == {"alone": "serial", "threads": "threads"}.get(who, "processes")
    for epoch in (1, 2, 3):
        for one, other in zip(plain.epoch(epoch), cached.epoch(epoch), strict=True):
            assert_same(one, other)
    cached.close()


def test_scaled_decoding_does_not_reach_a_cache(tmp_path: Path) -> None:
    files = make_files(tmp_path / "files", 8)
    plain = stream(files, FilePixels())
    for cache in (
        MemoryCache(Decoding(scaled=True)),
        PackedCache(Decoding(scaled=True), tmp_path / "cache"),
    ):
        for _ in range(2):
            for one, other in zip(plain.epoch(1), stream(files, cache).epoch(1), strict=True):
                assert_same(one, other)


def _darken(sample: dict[str, Any]) -> dict[str, Any]:
    """A user's function that writes into its arrays."""
    sample["x"] //= 2
    sample["target"]["mask"][:] = 1
    return sample


@pytest.mark.parametrize("kind", ["ram", "packed"])
def test_a_function_that_writes_harms_nobody(tmp_path: Path, kind: str) -> None:
    files = make_files(tmp_path / "files", 6, masks=True)
    settle(files.folder)
    plain = stream(files, FilePixels(), before=[_darken])
    cached = stream(files, CACHES[kind](tmp_path / "cache"), before=[_darken])
    for epoch in (1, 2, 3):
        for one, other in zip(plain.epoch(epoch), cached.epoch(epoch), strict=True):
            assert_same(one, other)
