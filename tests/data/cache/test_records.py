"""Records that several writers append: found by key, torn and damaged ones not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.data.cache import records
from cvtrainer.data.cache.records import RecordLog


def key(number: int) -> bytes:
    return (number * 0x9E3779B97F4A7C15 % (1 << 128)).to_bytes(16, "little")


def write(log: RecordLog, folder: Path, numbers: range, writer: str) -> Path:
    path = folder / f"{writer}.log"
    with open(path, "ab") as file:
        for number in numbers:
            file.write(log.added(key(number), (number, number + 1), writer))
    return path


@pytest.mark.parametrize("merge_at", [4, 1 << 16])
def test_records_of_all_writers_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge_at: int
) -> None:
    monkeypatch.setattr(records, "_MERGE_AT", merge_at)
    first, second, reader = (RecordLog(tmp_path, ".log", 2) for _ in range(3))
    write(first, tmp_path, range(10), "one")
    assert reader.refresh()
    assert not reader.refresh()
    write(second, tmp_path, range(8, 20), "two")
    assert reader.refresh()
    for number in range(20):
        found = reader.find(key(number))
        assert {one.words for one in found} == {(number, number + 1)}
        assert len(found) == (2 if number in (8, 9) else 1)
    assert not reader.find(key(20))
    assert len(reader) == 22
    assert {one.number for _, one in reader.all()} == set(range(22))


def test_torn_and_damaged_records_are_not_there(tmp_path: Path) -> None:
    log = RecordLog(tmp_path, ".log", 2)
    path = write(log, tmp_path, range(6), "one")
    data = bytearray(path.read_bytes())
    length = len(data) // 6
    data[2 * length + 20] ^= 4
    path.write_bytes(data[:-7])
    reader = RecordLog(tmp_path, ".log", 2)
    reader.refresh()
    assert [bool(reader.find(key(number))) for number in range(6)] == [1, 1, 0, 1, 1, 0]
    path.write_bytes(data[:-7] + data[-7:])
    reader.refresh()
    assert reader.find(key(5))


def test_zeros_are_no_record(tmp_path: Path) -> None:
    (tmp_path / "hole.log").write_bytes(bytes(400))
    reader = RecordLog(tmp_path, ".log", 2)
    assert not reader.refresh()
    assert not reader.find(bytes(16))


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert not RecordLog(tmp_path / "none", ".log", 2).refresh()
