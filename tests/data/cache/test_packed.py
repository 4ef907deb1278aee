"""The packed cache: never stale, never wrong, shared, bounded, and unharmed by kills."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.cache import PackedCache, packed
from cvtrainer.data.cache.shards import PIXELS, checksum
from cvtrainer.data.cache.writing import ENTRIES, pixel_bytes
from cvtrainer.data.decode import Decoding, read_image, read_mask
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.opening import FilePixels, open_record, whole_picture
from cvtrainer.data.sample import BadSample
from tests.data.cache.pictures import make_files, save_jpeg, save_mask, settle

ROOT = Path(__file__).parents[3]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is decoded from now on."""
    names: list[str] = []
    for function in ("decode_image", "decode_mask"):
        real = getattr(packed, function)

        def noting(data: bytes, name: str, decoding: Decoding, real=real) -> object:
            names.append(Path(name).name)
            return real(data, name, decoding)

        monkeypatch.setattr(packed, function, noting)
    return names


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    real = Encoded.read

    def noting(self: Encoded) -> bytes:
        names.append(Path(self.path).name)
        return real(self)

    monkeypatch.setattr(Encoded, "read", noting)
    return names


def filled(tmp_path: Path, count: int = 4, **settings: object) -> tuple[PackedCache, list[Path]]:
    """A cache of settled files, everything written."""
    files = make_files(tmp_path / "files", count)
    settle(files.folder)
    long_ago = time.time() + 10
    cache = PackedCache(None, tmp_path / "cache", **settings)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cvtrainer.data.cache.identity.time.time_ns", lambda: int(long_ago * 1e9))
        for path in files.paths:
            cache.picture(Encoded(path))
        cache.flush()
    return cache, [Path(path) for path in files.paths]


def again(cache: PackedCache) -> PackedCache:
    """The same cache as another process opens it."""
    return pickle.loads(pickle.dumps(cache))


def test_a_second_process_neither_reads_nor_decodes(
    tmp_path: Path, decoded: list[str], read: list[str]
) -> None:
    cache, paths = filled(tmp_path)
    assert len(decoded) == len(read) == 4
    other = again(cache)
    for path in paths:
        found = other.picture(Encoded(str(path)))
        np.testing.assert_array_equal(found.pixels, read_image(path))
        assert found[1:] == found.pixels.shape[:2]
        assert not found.pixels.flags.writeable
    assert len(decoded) == len(read) == 4


def test_moved_renamed_and_copied_files_are_known(tmp_path: Path, decoded: list[str]) -> None:
    cache, paths = filled(tmp_path)
    moved = tmp_path / "elsewhere" / "new.jpg"
    moved.parent.mkdir()
    expected = read_image(paths[0])
    paths[0].rename(moved)
    np.testing.assert_array_equal(again(cache).picture(Encoded(str(moved))).pixels, expected)
    in_memory = Encoded("table.parquet", data=moved.read_bytes(), member="7")
    np.testing.assert_array_equal(again(cache).picture(in_memory).pixels, expected)
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"head" + moved.read_bytes() + b"tail")
    member = Encoded(str(archive), offset=4, length=moved.stat().st_size, member="a.jpg")
    np.testing.assert_array_equal(again(cache).picture(member).pixels, expected)
    assert len(decoded) == 4


@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_changed_file_is_never_stale(tmp_path: Path, keeps_times: bool) -> None:
    cache, paths = filled(tmp_path)
    path = str(paths[1])
    before = os.stat(path)
    save_jpeg(paths[1], 99)
    data = paths[1].read_bytes()[: before.st_size].ljust(before.st_size, b"\0")
    paths[1].write_bytes(data)
    if keeps_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert os.stat(path).st_size == before.st_size
    for one in (cache, again(cache)):
        try:
            expected = FilePixels().picture(Encoded(path)).pixels
        except BadSample:
            with pytest.raises(BadSample):
                one.picture(Encoded(path))
            continue
        np.testing.assert_array_equal(one.picture(Encoded(path)).pixels, expected)


def test_a_young_file_is_read_again(tmp_path: Path, decoded: list[str], read: list[str]) -> None:
    path = save_jpeg(tmp_path / "a.jpg", 1)
    cache = PackedCache(None, tmp_path / "cache")
    for _ in range(3):
        cache.picture(Encoded(str(path)))
        cache.flush()
    assert (len(decoded), len(read)) == (1, 3)


def test_settings_do_not_mix(tmp_path: Path) -> None:
    first = PackedCache(Decoding(), tmp_path)
    folders = {
        first.folder,
        PackedCache(Decoding(truncated="load"), tmp_path).folder,
        PackedCache(Decoding(), tmp_path, shorter=16).folder,
        PackedCache(Decoding(), tmp_path, shorter=17).folder,
    }
    assert len(folders) == 4
    assert PackedCache(Decoding(scaled=True), tmp_path).folder == first.folder


def test_reduced_pictures_carry_their_size(tmp_path: Path, decoded: list[str]) -> None:
    cache, paths = filled(tmp_path, shorter=24)
    for path in paths:
        full = read_image(path)
        found = again(cache).picture(Encoded(str(path)))
        assert found[1:] == full.shape[:2]
        assert min(found.pixels.shape[:2]) == 24
        assert abs(float(found.pixels.mean()) - float(full.mean())) < 1
    assert len(decoded) == 4
    target = {"boxes": np.array([[0.0, 0.0, 48.0, 64.0]], np.float32)}
    sample = open_record({"x": Encoded(str(paths[0])), "target": target}, cache)
    assert sample["x"].shape == (32, 24, 3)
    np.testing.assert_allclose(sample["target"]["boxes"], [[0, 0, 24, 32]])


def test_samples_with_masks_stay_whole(tmp_path: Path) -> None:
    files = make_files(tmp_path / "files", 3, masks=True)
    cache = PackedCache(None, tmp_path / "cache", shorter=24)
    for _ in range(2):
        for number in range(3):
            sample = open_record(files[number], cache)
            path = Path(files.paths[number])
            np.testing.assert_array_equal(sample["x"], read_image(path))
            np.testing.assert_array_equal(
                sample["target"]["mask"], read_mask(path.with_suffix(".png"))
            )
        cache.flush()
    small = cache.picture(Encoded(files.paths[0]), None)
    assert small.pixels.shape != cache.picture(Encoded(files.paths[0]), whole_picture).pixels.shape


def test_one_file_as_picture_and_as_mask(tmp_path: Path) -> None:
    path = str(save_mask(tmp_path / "a.png", 3))
    cache = PackedCache(None, tmp_path / "cache")
    for _ in range(2):
        assert cache.picture(Encoded(path)).pixels.ndim == 3
        np.testing.assert_array_equal(cache.mask(Encoded(path, "mask")), read_mask(path))
        cache.flush()


def test_damaged_pixels_are_decoded_again_and_named_once(
    tmp_path: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cache, paths = filled(tmp_path)
    shard = next(cache.folder.glob(f"*{PIXELS}"))
    data = bytearray(shard.read_bytes())
    data[1000] ^= 16
    shard.write_bytes(data)
    other = again(cache)
    for _ in range(2):
        for path in paths:
            np.testing.assert_array_equal(
                other.picture(Encoded(str(path))).pixels, read_image(path)
            )
        other.flush()
    assert decoded[4:] == ["000.jpg"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "000.jpg" in said[0]
    third = again(cache)
    np.testing.assert_array_equal(
        third.picture(Encoded(str(paths[0]))).pixels, read_image(paths[0])
    )
    assert len(decoded) == 5


@pytest.mark.parametrize("how", ["short", "gone", "short while open", "gone while open"])
def test_a_lost_shard_is_decoded_again(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, paths = filled(tmp_path)
    shard = next(cache.folder.glob(f"*{PIXELS}"))
    reader = again(cache)
    if "open" in how:
        reader.picture(Encoded(str(paths[0])))
    if "short" in how:
        os.truncate(shard, shard.stat().st_size - 3000)
    else:
        shard.unlink()
    for _ in range(2):
        for path in paths:
            np.testing.assert_array_equal(
                reader.picture(Encoded(str(path))).pixels, read_image(path)
            )
        reader.flush()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bound_is_kept_by_several_writers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_files(tmp_path / "files", 12)
    caches = [PackedCache(None, tmp_path / "cache", max_bytes="30 kB") for _ in range(3)]
    for number, path in enumerate(files.paths):
        caches[number % 3].picture(Encoded(path))
    for cache in caches:
        cache.flush()
    size = pixel_bytes(caches[0].folder)
    assert 20_000 < size <= 30_000
    assert "full" in capsys.readouterr().err
    for path in files.paths:
        np.testing.assert_array_equal(caches[0].picture(Encoded(path)).pixels, read_image(path))


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_jpeg(tmp_path / "a.jpg", 1)
    (tmp_path / "cache").write_text("in the way")
    cache = PackedCache(None, tmp_path / "cache")
    for _ in range(2):
        np.testing.assert_array_equal(cache.picture(Encoded(str(path))).pixels, read_image(path))
        cache.flush()
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("value", ["lots", 0, "12 parsecs", "-5"])
def test_a_size_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match="max_bytes"):
        PackedCache(None, tmp_path, max_bytes=value)


def test_bad_files_stay_bad(tmp_path: Path) -> None:
    path = save_jpeg(tmp_path / "a.jpg", 1)
    path.write_bytes(path.read_bytes()[:400])
    cache = PackedCache(None, tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(BadSample):
            cache.picture(Encoded(str(path)))
    with pytest.raises(FileNotFoundError):
        cache.picture(Encoded(str(tmp_path / "none.jpg")))


_WRITER = """
import os
import sys
from cvtrainer.data.cache import PackedCache
from cvtrainer.data.encoded import Encoded
cache = PackedCache(None, sys.argv[1])
print("ready", flush=True)
for number in range(100000):
    data = open(sys.argv[2 + number % (len(sys.argv) - 2)], "rb").read()
    data += f"{os.getpid()} {number}".encode()
    cache.picture(Encoded("x", data=data, member=str(number)))
"""


def test_killed_writers_leave_only_whole_entries(tmp_path: Path) -> None:
    files = make_files(tmp_path / "files", 6)
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", _WRITER, str(folder), *files.paths]
    writers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    cache = PackedCache(None, folder)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        cache.store.refresh()
        files_of = len(list(cache.folder.glob(f"*{ENTRIES}")))
        if len(cache.store.entries) >= 200 and files_of == 2:
            break
        time.sleep(0.02)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()
    fresh = again(cache)
    count, damaged = fresh.store.faulty()
    assert count >= 200
    assert damaged == 0
    assert len(list(fresh.folder.glob(f"*{ENTRIES}"))) == 2


def test_the_sum_sees_every_flipped_bit() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 59, 3), dtype=np.uint8)
    known = checksum(pixels)
    rng = np.random.default_rng(1)
    for at in rng.integers(0, pixels.size, 200):
        changed = pixels.copy()
        changed.reshape(-1)[at] ^= 1 << int(rng.integers(8))
        assert checksum(changed) != known
