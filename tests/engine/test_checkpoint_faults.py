"""A fault at each write of a checkpoint: the newest whole state is used, and nothing else is lost.

Real processes are killed at their own writes, in the midst of one, on a disk that is full, short or
lying; bits of finished files flip. Each run then goes on, and must end as the unbroken one did,
with the same files. `make soak` meets all places; here each kind meets each sort of place once.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import checkpoints_in, first_whole, read_checkpoint
from tests.engine.faulty_runs import FINAL
from tests.trainer.test_state import assert_same

KINDS = ("kill", "torn", "full", "short", "hidden")
ONLY_WRITES = ("torn", "short", "hidden")
Outcome = dict[str, Any]


class Crew:
    """The process whose forks are the runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def carry_out(self, *runs: dict[str, Any]) -> list[Outcome]:
        """These runs, one after the other, and what became of them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        listed = [{**run, "folder": str(run["folder"])} for run in runs]
        self.process.stdin.write(json.dumps(listed) + "\n")
        self.process.stdin.flush()
        outcomes: list[Outcome] = json.loads(self.process.stdout.readline())
        return outcomes


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.engine.faulty_runs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Crew(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass(frozen=True)
class Unbroken:
    """The run that met no fault, and the events of its writing."""

    folder: Path
    events: list[str]

    def files(self) -> list[list[int]]:
        """The events of each file that was written, in turn."""
        opened = [number for number, event in enumerate(self.events) if event == "open"]
        ends = [*opened[1:], len(self.events)]
        return [list(range(start, end)) for start, end in zip(opened, ends, strict=True)]


@pytest.fixture(scope="module")
def whole(crew: Crew, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder = tmp_path_factory.mktemp("whole")
    (outcome,) = crew.carry_out({"folder": folder})
    assert outcome["failed"] is None
    return Unbroken(folder, outcome["events"])


def content(path: Path) -> dict[str, Any]:
    """The state in a file, less what names the run and what else was due when it was written."""
    state = {key: one for key, one in read_checkpoint(path).items() if not key.startswith("run_")}
    del state["hooks"]["checkpoint"]["asked"]
    return state


def assert_ends_alike(unbroken: Path, broken: Path) -> None:
    """The same weights, averages, meters, …, in the same files under the same names."""
    assert_same(content(unbroken / FINAL), content(broken / FINAL))
    ours, theirs = (folder / "run" / "checkpoints" for folder in (unbroken, broken))
    names = sorted(path.name for path in checkpoints_in(ours))
    assert sorted(path.name for path in checkpoints_in(theirs)) == names
    for name in names:
        assert_same(content(ours / name), content(theirs / name), name)


def met(kind: str, outcome: Outcome) -> None:
    """The fault has done what it was meant to do."""
    if kind != "hidden":  # after the last file there is none that it could be killed before
        assert outcome["killed"] == (kind in ("kill", "torn"))
    if kind == "full":
        assert "the disk is full" in outcome["failed"]
        assert ".pth" in outcome["failed"]
        assert "\n" not in outcome["failed"]
    else:
        assert outcome["failed"] is None


def meet(crew: Crew, folder: Path, whole: Unbroken, faults: list[tuple[str, int]]) -> None:
    """Each fault in a run of its own, which then goes on."""
    runs = []
    for kind, event in faults:
        place = folder / f"{kind}_{event}"
        place.mkdir()
        runs.append({"folder": place, "fault": {"kind": kind, "event": event}})
        runs.append({"folder": place, "resume": True})
    outcomes = crew.carry_out(*runs)
    for number, (kind, event) in enumerate(faults):
        broken, resumed = outcomes[2 * number : 2 * number + 2]
        told = f"{kind} at event {event} ({whole.events[event]})"
        try:
            met(kind, broken)
            met("none", resumed)
            if kind == "hidden":  # the newest file is not what was written, and that is told
                assert re.search(r"\.pth: .*; trying the one before it", resumed["said"][0])
            assert_ends_alike(whole.folder, folder / f"{kind}_{event}")
        except AssertionError as error:
            error.add_note(f"{told}: {broken}, {resumed}")
            raise


def possible(kind: str, event: str) -> bool:
    if kind == "full":
        return event in ("open", "write", "fsync")
    return event == "write" or kind not in ONLY_WRITES


@pytest.mark.long
def test_every_kind_meets_every_sort_of_place(tmp_path: Path, crew: Crew, whole: Unbroken) -> None:
    """Sorts: opening, the first write, one between, the checksum's, flush to disk, both renames."""
    files = whole.files()
    sorts = [[one[0] for one in files], [one[1] for one in files], [one[2] for one in files]]
    sorts += [[one[-place] for one in files] for place in (4, 3, 2, 1)]
    draw = random.Random(0)
    faults = [
        (kind, draw.choice(sort))
        for kind in KINDS
        for sort in sorts
        if possible(kind, whole.events[sort[0]])
    ]
    assert len(faults) >= 18
    meet(crew, tmp_path, whole, faults)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_meets_every_event(
    tmp_path: Path, crew: Crew, whole: Unbroken, kind: str
) -> None:
    events = [number for number, event in enumerate(whole.events) if possible(kind, event)]
    meet(crew, tmp_path, whole, [(kind, number) for number in events])


def test_between_the_files_of_one_border_none_is_lost(
    tmp_path: Path, crew: Crew, whole: Unbroken
) -> None:
    """Killed after the periodic file of a border, before its best one; then after that one."""
    files = whole.files()
    faults = [("kill", files[3][0]), ("kill", files[4][0]), ("torn", files[-2][2])]
    meet(crew, tmp_path, whole, faults)


def test_a_real_limit_of_file_size(tmp_path: Path, crew: Crew, whole: Unbroken) -> None:
    """No stand-in: the system itself refuses the write."""
    broken, resumed = crew.carry_out(
        {"folder": tmp_path, "limit": True}, {"folder": tmp_path, "resume": True}
    )
    assert "checkpoint_step_1.pth: cannot write here (file too large)" in broken["failed"]
    assert not broken["killed"]
    met("none", resumed)
    assert_ends_alike(whole.folder, tmp_path)


def copy_of(whole: Path, folder: Path) -> Path:
    """The run as it was before its end, times of files included."""
    shutil.copytree(whole / "run", folder / "run")
    for name in ("last.pth", "checkpoint_step_6.pth", "best_step_6.pth"):
        (folder / "run" / "checkpoints" / name).unlink()
    newest = checkpoints_in(folder / "run" / "checkpoints")[0]
    assert newest.name == "checkpoint_step_5.pth"
    return newest


def flip(path: Path, offset: int, bit: int) -> None:
    times = path.stat()
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1 << bit]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_flipped_bit_is_named_and_the_run_goes_on_from_the_file_before(
    tmp_path: Path, crew: Crew, whole: Unbroken
) -> None:
    """In the archive's header, in tensors, in its directory, in its end, in the checksum."""
    size = (whole.folder / "run" / "checkpoints" / "checkpoint_step_5.pth").stat().st_size
    offsets = [0, 31, size // 3, size // 2, size - 2000, size - 103, size - 82, size - 75, size - 1]
    runs = []
    for number, offset in enumerate(offsets):
        folder = tmp_path / str(number)
        folder.mkdir()
        flip(copy_of(whole.folder, folder), offset, number % 8)
        runs.append({"folder": folder, "resume": True})
    for run, outcome in zip(runs, crew.carry_out(*runs), strict=True):
        damage, start = outcome["said"]
        assert "checkpoint_step_5.pth" in damage
        assert start == "from best_step_3.pth"
        assert_ends_alike(whole.folder, Path(str(run["folder"])))


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_a_flipped_bit_at_every_offset(tmp_path: Path, crew: Crew, whole: Unbroken) -> None:
    newest = copy_of(whole.folder, tmp_path)
    draw = random.Random(0)
    for offset in range(newest.stat().st_size):
        bit = draw.randrange(8)
        flip(newest, offset, bit)
        with pytest.raises(UserError, match=r"checkpoint_step_5\.pth"):
            read_checkpoint(newest)
        flip(newest, offset, bit)
    said: list[str] = []
    found = first_whole([newest], said.append)
    assert found is not None
    assert said == []
