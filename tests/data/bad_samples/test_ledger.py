"""Bad samples are written once, told once, counted, and shared by the ranks of a run."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.bad_samples import (
    BadRecord,
    Ledger,
    Quarantine,
    TooManyBad,
    replacement,
    stamp_of,
)


def bad(name: str, index: int = 0, kind: str = "unreadable") -> BadRecord:
    """A record about that file."""
    return BadRecord(index=index, file=name, kind=kind, reason=f"{name} is broken")


def rows(path: Path) -> list[dict[str, object]]:
    """What the file says."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def ledger(path: Path | None, said: list[str] | None = None, **settings: object) -> Ledger:
    """For a hundred samples, half of which may be bad."""
    words = {"split": "train", "length": 100, "max_bad": 0.5, **settings}
    return Ledger(path, say=(said if said is not None else []).append, **words)  # type: ignore[arg-type]


@pytest.mark.seed("S3-84")
def test_each_file_is_written_and_told_once(tmp_path: Path) -> None:
    path, said = tmp_path / "bad_samples.jsonl", list[str]()
    book = ledger(path, said)
    book.add([])
    assert not path.exists()
    book.add([bad("a.jpg", 3, "truncated"), bad("a.jpg", 3), bad("b.jpg", 7)])
    book.add([bad("a.jpg", 3)])
    words = {"split": "train", "index": 3, "file": "a.jpg", "kind": "truncated"}
    assert rows(path)[0] == {**words, "reason": "a.jpg is broken"}
    assert len(rows(path)) == 2
    assert said == [
        "train: bad sample replaced: a.jpg: a.jpg is broken",
        "train: bad sample replaced: b.jpg: b.jpg is broken",
    ]


def test_a_resumed_run_and_other_ranks_count(tmp_path: Path) -> None:
    path, said = tmp_path / "bad_samples.jsonl", list[str]()
    first, second = ledger(path), ledger(path, said)
    first.add([bad("a.jpg"), bad("b.jpg")])
    second.add([bad("b.jpg"), bad("c.jpg")])
    assert [record.file for record in second.records] == ["a.jpg", "b.jpg", "c.jpg"]
    assert len(said) == 1
    assert len(ledger(path).records) == 3
    assert ledger(path, split="val").records == []


def test_splits_share_a_file_and_not_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "bad_samples.jsonl"
    ledger(path).add([bad("a.jpg")])
    val = ledger(path, split="val")
    val.add([bad("a.jpg")])
    assert [row["split"] for row in rows(path)] == ["train", "val"]
    assert len(val.records) == 1


@pytest.mark.parametrize(
    ("max_bad", "length", "allowed"),
    [(0.01, 300, 3), (0.01, 50, 1), (0, 50, 0), (1, 5, 5), (0.29, 100, 29), (0.4, 5, 2)],
)
def test_the_budget_in_samples(max_bad: float, length: int, allowed: int) -> None:
    book = ledger(None, max_bad=max_bad, length=length)
    assert book.allowed == allowed
    book.add([bad(f"{k}.jpg", k) for k in range(allowed)])
    if allowed < length:
        with pytest.raises(TooManyBad):
            book.add([bad("more.jpg")])


@pytest.mark.seed("S3-84")
def test_over_the_budget_the_run_ends_with_the_list(tmp_path: Path) -> None:
    path = tmp_path / "bad_samples.jsonl"
    book = ledger(path, length=5, max_bad=0.4)
    book.add([bad("a.jpg"), bad("b.jpg")])
    with pytest.raises(UserError) as caught:
        book.add([bad("c.jpg")])
    first, *listed = str(caught.value).splitlines()
    assert first.startswith("train: 3 of 5 samples (60.0%) cannot be used, and max_bad: 0.4 ")
    assert listed == [f"  {n}.jpg: {n}.jpg is broken" for n in "abc"]
    assert len(rows(path)) == 3
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_a_long_list_is_cut_and_so_are_the_warnings(tmp_path: Path) -> None:
    said: list[str] = []
    book = ledger(tmp_path / "bad_samples.jsonl", said, max_bad=0.3)
    with pytest.raises(TooManyBad, match=r"and 20 more$"):
        book.add([bad(f"{k}.jpg", k) for k in range(40)])
    assert len(said) == 21
    assert "bad_samples.jsonl" in said[-1]


def test_a_budget_that_is_no_share_is_refused() -> None:
    with pytest.raises(UserError, match="max_bad: 5 is not a share"):
        ledger(None, max_bad=5)


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "bad_samples.jsonl"
    ledger(path).add([bad("a.jpg"), bad("b.jpg")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    book = ledger(path)
    assert [record.file for record in book.records] == ["a.jpg"]
    book.add([bad("c.jpg")])
    assert [record.file for record in ledger(path).records] == ["a.jpg", "c.jpg"]
    path.write_bytes(b'5\n"text"\n{"file": "x"}\n\xff\xfe\n' + whole)
    assert len(ledger(path).records) == 2


def test_odd_file_names_survive(tmp_path: Path) -> None:
    path = tmp_path / "bad_samples.jsonl"
    names = ["ü.jpg", "line\nbreak.jpg", b"\xff.jpg".decode(errors="surrogateescape")]
    ledger(path).add([bad(name) for name in names])
    assert [record.file for record in ledger(path).records] == names


_ADDER = """
import sys
from cvtrainer.data.bad_samples import BadRecord, Ledger, Quarantine
path, quarantine, folder, start = sys.argv[1:]
book = Ledger(path, split="train", length=1000, max_bad=1, quarantine=Quarantine(quarantine),
              say=lambda line: None)
for k in range(int(start), int(start) + 40):
    book.add([BadRecord(k, f"{folder}/{k}.jpg", "unreadable", "broken")])
"""


def test_several_processes_add_at_once(tmp_path: Path) -> None:
    path, quarantine = tmp_path / "run" / "bad_samples.jsonl", tmp_path / "quarantine.jsonl"
    for k in range(80):
        (tmp_path / f"{k}.jpg").write_bytes(b"no picture")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _ADDER, str(path), str(quarantine), str(tmp_path), str(start)]
        )
        for start in (0, 20, 40)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    for file in (path, quarantine):
        found = [str(row["file"]) for row in rows(file)]
        assert sorted(found) == sorted(f"{tmp_path}/{k}.jpg" for k in range(80))
    assert len(ledger(path).records) == 80


@pytest.mark.seed("S3-84")
def test_a_repaired_file_is_tried_again(tmp_path: Path) -> None:
    picture, keep = tmp_path / "a.jpg", tmp_path / "quarantine.jsonl"
    picture.write_bytes(b"broken")
    ledger(None, quarantine=keep).add([bad(str(picture)), bad("gone.jpg")])
    later = Quarantine(keep)
    assert later(str(picture))
    assert not later("gone.jpg")
    assert pickle.loads(pickle.dumps(later))(str(picture))
    book = ledger(None, quarantine=keep)
    assert book.known(str(picture), stamp_of(str(picture)))
    assert not book.known(str(picture), None)
    picture.write_bytes(b"repaired")
    assert not later(str(picture))
    ledger(None, quarantine=keep).add([bad(str(picture))])
    assert Quarantine(keep)(str(picture))
    assert len(rows(keep)) == 2


def test_other_rules_of_decoding_try_again(tmp_path: Path) -> None:
    picture, keep = tmp_path / "a.jpg", tmp_path / "quarantine.jsonl"
    picture.write_bytes(b"broken")
    Quarantine(keep, rules="truncated=replace").add([bad(str(picture), kind="truncated")])
    assert Quarantine(keep, rules="truncated=replace")(str(picture))
    assert not Quarantine(keep, rules="truncated=load")(str(picture))


def test_what_can_be_put_right_elsewhere_is_not_kept(tmp_path: Path) -> None:
    picture, keep = tmp_path / "a.jpg", tmp_path / "quarantine.jsonl"
    picture.write_bytes(b"fine")
    kinds = ("label", "annotation", "size", "value", "known")
    Quarantine(keep).add([bad(str(picture), kind=kind) for kind in kinds])
    assert not keep.exists()


def test_members_of_an_archive_have_its_stamp(tmp_path: Path) -> None:
    archive, keep = tmp_path / "a.tar", tmp_path / "quarantine.jsonl"
    archive.write_bytes(b"tar")
    name = f"{archive}!0/1.jpg"
    Quarantine(keep).add([bad(name)])
    assert Quarantine(keep)(name)
    archive.write_bytes(b"another")
    assert not Quarantine(keep)(name)


def test_what_is_known_keeps_its_first_reason(tmp_path: Path) -> None:
    picture, keep, said = tmp_path / "a.jpg", tmp_path / "quarantine.jsonl", list[str]()
    picture.write_bytes(b"broken")
    Quarantine(keep).add([bad(str(picture), kind="truncated")])
    book = ledger(tmp_path / "bad.jsonl", said, quarantine=keep)
    book.add([BadRecord(4, str(picture), "known", "in quarantine from an earlier run")])
    assert rows(tmp_path / "bad.jsonl")[0]["kind"] == "truncated"
    assert len(said) == 2
    assert "tried again" in said[0]


def test_a_quarantine_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    picture, said = tmp_path / "a.jpg", list[str]()
    picture.write_bytes(b"broken")
    book = ledger(None, said, quarantine=tmp_path / "file" / "quarantine.jsonl")
    book.add([bad(str(picture))])
    assert "the quarantine is not kept" in said[-1]


def test_replacement_is_a_pure_function_that_reaches_everything() -> None:
    chain = [replacement(7, 3, attempt, 5) for attempt in range(1, 60)]
    assert chain == [replacement(7, 3, attempt, 5) for attempt in range(1, 60)]
    assert set(chain) == set(range(5))
    assert chain != [replacement(8, 3, attempt, 5) for attempt in range(1, 60)]
