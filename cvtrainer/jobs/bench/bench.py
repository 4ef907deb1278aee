"""`cvtrainer bench`: how long artefacts take here, and how much memory, side by side.

All processes wait while one measures a block; then comes the next artefact's block, round by round,
so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import note_of_changes
from cvtrainer.deploy.devices.device import Device, device_named
from cvtrainer.deploy.devices.estimate import Estimate, estimate
from cvtrainer.deploy.runtime.runner import OWN_THREADS
from cvtrainer.jobs.bench.host import Host, host_here
from cvtrainer.jobs.bench.member import BrokenArtefactError, Member
from cvtrainer.jobs.bench.subjects import Subject, subjects_of

_AS_WRITTEN = (
    "onnx int8 is timed as it is proven, with floats between its roundings; ONNX Runtime's own "
    "defaults are faster and end a little elsewhere."
)


@dataclass(frozen=True)
class Measure:
    """What is measured: `runs` calls for each artefact, thread count and batch size in `rounds`
    blocks, each behind `warm` calls that do not count; `seconds` ends them sooner."""

    threads: Sequence[int] = (1,)
    batches: Sequence[int] = (1,)
    runs: int = 200
    rounds: int = 10
    warm: int = 3
    seconds: float = 10.0

    def __post_init__(self) -> None:
        words = {"--threads": self.threads, "--batch": self.batches}
        words |= {"--runs": (self.runs,), "--rounds": (self.rounds,)}
        for word, values in words.items():
            if not values or min(values) < 1:
                raise UserError("give whole numbers from 1 on", where=word)
        if self.warm < 0 or self.seconds <= 0:
            raise UserError("give a time, and no fewer than 0 calls before it", where="--seconds")


@dataclass(frozen=True)
class Row:
    """One artefact with so many threads and pictures at a time; times in milliseconds a call.

    `threads` are None where the runtime takes as many as it likes.
    `blocks` are the smallest and largest median of a block; `memory_bytes` is by how much the
    process grew at most since before it opened the artefact, `opened_bytes` right after that.
    """

    name: str
    threads: int | None
    batch: int
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    blocks: tuple[float, float]
    open_ms: float
    opened_bytes: int | None
    memory_bytes: int | None

    @property
    def per_second(self) -> float:
        """Pictures."""
        return 1000 * self.batch / self.p50_ms


@dataclass
class Benched:
    """What was measured, and what could not be: one line each."""

    host: Host
    measure: Measure
    subjects: list[Subject] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    estimates: dict[str, list[Estimate]] = field(default_factory=dict)
    """By the names of artefacts: how long they would take on the devices that were named."""
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For a file."""
        return {
            "host": asdict(self.host),
            "notes": self.notes,
            "measure": asdict(self.measure),
            "artefacts": [
                {
                    "name": one.name,
                    "target": one.contract.target,
                    "precision": one.contract.precision,
                    "proven": one.proven,
                    "bytes": one.size,
                    "measured": [_plain(row) for row in self.rows if row.name == one.name],
                    "estimated": [each.plain() for each in self.estimates.get(one.name, ())],
                }
                for one in self.subjects
            ],
            "failures": self.failures,
        }


def bench(
    words: Sequence[str],
    measure: Measure | None = None,
    *,
    devices: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Benched:
    """Measure every artefact that is named; a broken one is a failure, and the others go on.

    For each of the devices there is an estimate, too.
    """
    known = [device_named(name) for name in devices]
    done = Benched(host_here(), measure or Measure())
    with tempfile.TemporaryDirectory(prefix="cvtrainer-bench-") as scratch:
        done.subjects = list(_subjects(words, Path(scratch), done))
        members = list(_opened(done, say))
        try:
            _measure(members, done, say)
        finally:
            for member in members:
                member.dismiss()
            for member in members:
                member.close()
        kept = {row.name for row in done.rows}
        done.subjects = [one for one in done.subjects if one.name in kept]
    _estimate(done, known)
    precisions = {one.contract.precision for one in done.subjects}
    done.notes += done.host.notes(precisions)
    kinds = {(one.contract.target, one.contract.precision) for one in done.subjects}
    if ("onnx", "int8") in kinds:
        done.notes.append(_AS_WRITTEN)
    return done


def _subjects(words: Sequence[str], scratch: Path, done: Benched) -> Iterator[Subject]:
    seen: set[str] = set()
    for word in words:
        try:
            for one in subjects_of(word, scratch):
                if isinstance(one, str):
                    done.notes.append(one)
                elif one.name not in seen:
                    seen.add(one.name)
                    yield one
        except UserError as error:
            done.failures.append(str(error))


def _opened(done: Benched, say: Callable[[str], None]) -> Iterator[Member]:
    for subject in done.subjects:
        if not subject.proven:
            done.notes.append(f"{subject.name} is not proven.")
        changes = note_of_changes(subject.path, subject.contract)
        if changes is not None:
            done.notes.append(changes)
        threads_there = done.measure.threads
        if subject.contract.target in OWN_THREADS:
            threads_there = threads_there[:1]
            done.notes.append(
                f"{subject.name}: {subject.contract.target} takes threads of its own, "
                "whatever --threads says."
            )
        for threads in threads_there:
            member = Member(subject, threads)
            try:
                member.open()
            except BrokenArtefactError as error:
                done.failures.append(str(error))
                member.close()
                break
            say(f"opened {subject.name}, threads {threads}")
            yield member


def _measure(members: list[Member], done: Benched, say: Callable[[str], None]) -> None:
    """Small batches first, so that the most memory so far is that of the batch."""
    measure = done.measure
    order = {
        "runs": -(-measure.runs // measure.rounds),
        "warm": measure.warm,
        "seconds": measure.seconds / measure.rounds,
    }
    broken: set[Member] = set()
    for batch in sorted(set(measure.batches)):
        able = [one for one in members if one not in broken and _takes(one, batch)]
        for _ in range(measure.rounds):
            for member in able:
                if member in broken:
                    continue
                try:
                    member.measure(batch, order)
                except BrokenArtefactError as error:
                    done.failures.append(str(error))
                    broken.add(member)
        done.rows += [_row(one, batch) for one in able if one not in broken]
        if able:
            say(f"measured batch size {batch}")
    for subject in done.subjects:
        fixed = subject.contract.input.shape[0]
        left = [one for one in measure.batches if fixed not in (None, one)]
        if left:
            sizes = ", ".join(map(str, left))
            done.notes.append(f"{subject.name} takes {fixed} at a time; not measured: {sizes}.")


def _estimate(done: Benched, devices: Sequence[Device]) -> None:
    for subject in done.subjects if devices else ():
        plan = subject.contract.plan
        if plan is None:
            done.notes.append(f"{subject.name} has no plan in its contract, so no estimate.")
            continue
        for device in devices:
            try:
                found = estimate(plan, device)
            except UserError as error:
                done.notes.append(f"{subject.name}: {error.what}, so no estimate.")
            else:
                done.estimates.setdefault(subject.name, []).append(found)


def _takes(member: Member, batch: int) -> bool:
    return member.subject.contract.input.shape[0] in (None, batch)


def _row(member: Member, batch: int) -> Row:
    blocks = member.milliseconds[batch]
    every = np.concatenate(blocks)
    p50, p90, p99 = (float(one) for one in np.percentile(every, (50, 90, 99)))
    medians = [float(np.median(block)) for block in blocks]
    told = member.opened
    return Row(
        member.name,
        None if member.subject.contract.target in OWN_THREADS else member.threads,
        batch,
        len(every),
        p50,
        p90,
        p99,
        float(every.mean()),
        (min(medians), max(medians)),
        told["open_ms"],
        _growth(told["opened"], told["before"]),
        _growth(member.peaks[batch], told["before"]),
    )


def _growth(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else max(0, now - before)


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "pictures_per_second": row.per_second}
