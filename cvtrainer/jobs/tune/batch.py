"""`cvtrainer tune batch`: the largest batch size that fits, and the fastest one.

Each size runs in a fresh process, so that nothing a failed one left behind spoils the next. On a
CPU the limit is memory as the process holds it, on a GPU what is free of the device's; five per
cent of either stay free. The answer is confirmed by a longer run with evaluation.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.data.cache.byte_sizes import byte_size
from cvtrainer.engine.prepare import pick_device
from cvtrainer.jobs.tune.batch_search import Answer, Try, find_largest, power_of_two
from cvtrainer.jobs.tune.batch_try import Report, Request
from cvtrainer.jobs.tune.memory import available_bytes, resident_bytes
from cvtrainer.jobs.tune.subject import Config, Subject, find_subject, to_stderr

SHARE_OF_AVAILABLE = 0.8
"""Of the machine's free memory, where no limit is given."""

MARGIN = 0.05
_STEPS, _STEPS_TO_CONFIRM = 8, 24
_EVALUATIONS_TO_CONFIRM = 8
_LOOK_EVERY_S = 0.02


@dataclass
class BatchSize:
    """What was tried and what came of it."""

    stage: str
    on_gpu: bool
    limit_bytes: int | None
    tries: list[Try] = field(default_factory=list)
    answer: Answer | None = None

    @property
    def fastest(self) -> Try | None:
        """The size with the most images per second among those that fit."""
        good = [one for one in self.tries if one.verdict == "fits" and one.images_per_s]
        return max(good, key=lambda one: one.images_per_s or 0.0, default=None)

    def override(self, batch: int) -> str:
        """What sets that size."""
        return batch_word(self.stage, batch)


def memory_size(text: str | None) -> int | None:
    """Bytes of what a person wrote, such as 2GiB."""
    try:
        return byte_size(text, "--memory")
    except UserError as error:
        raise UserError(f"{text!r} is no size", where="--memory", todo="Write 2GiB.") from error


def batch_word(stage: str, batch: int) -> str:
    """The override of the training batch's size."""
    return f"stages.{stage}.dataloader.train.dataloader_args.batch_size={batch}"


def tune_batch(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    most: int | None = None,
    memory: int | None = None,
    say: Callable[[str], None] = to_stderr,
) -> BatchSize:
    """Search up to `most`, with `memory` bytes; raises what a size fails of besides memory."""
    if most is not None and most < 1:
        raise UserError(f"--max is {most}", todo="Give 1 or more.")
    subject = find_subject(config, overrides, stage=stage)
    for note in subject.notes:
        say(note)
    on_gpu = pick_device(str(subject.config["device"])).type == "cuda"
    search = _Search(config, list(overrides), subject, on_gpu, memory, say)
    arguments = subject.stage["dataloader"]["train"].get("dataloader_args") or {}
    start = power_of_two(min(int(arguments.get("batch_size", 1)), most or sys.maxsize))
    found = search.found
    found.answer = find_largest(
        search.attempt, start=start, most=lambda: min(most or sys.maxsize, search.samples)
    )
    return found


class _Search:
    """Runs the tries of one search."""

    def __init__(
        self,
        config: Config,
        overrides: list[str],
        subject: Subject,
        on_gpu: bool,
        memory: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._config = dict(config) if not isinstance(config, str | Path) else str(config)
        self._overrides = overrides
        self._memory = memory
        self._say = say
        self._has_val = bool(subject.stage["dataloader"].get("val"))
        self.samples = 1
        self.found = BatchSize(subject.name, on_gpu, None if on_gpu else self._limit())

    def attempt(self, batch: int, confirming: bool) -> Try:
        """One size in one fresh process."""
        found = self.found
        limit = None if found.on_gpu else self._limit()
        usable = None if limit is None else int(limit * (1 - MARGIN))
        evaluations = _EVALUATIONS_TO_CONFIRM if confirming and self._has_val else 0
        request = Request(
            config=self._config,
            overrides=[*self._overrides, batch_word(found.stage, batch)],
            stage=found.stage,
            steps=_STEPS_TO_CONFIRM if confirming else _STEPS,
            evaluations=evaluations,
            limit_bytes=self._memory,
        )
        report = run_apart(request, usable)
        if report.problem:
            self._refuse(batch, report)
        self.samples = report.samples or self.samples
        over = usable is not None and (report.peak_bytes or 0) > usable
        fits = not report.out_of_memory and not over
        again = any(one.batch == batch and one.verdict != "fits" for one in found.tries)
        made = Try(
            batch,
            "fits" if fits else "out of memory",
            report.peak_bytes,
            report.images_per_s if fits else None,
            "to confirm" if confirming else "again" if again else "",
        )
        found.tries.append(made)
        self._say(f"batch {batch}: {made.verdict}{f' ({made.note})' if made.note else ''}")
        return made

    def _limit(self) -> int:
        """What a process may hold, measured now."""
        if self._memory is not None:
            return self._memory
        available = available_bytes()
        if available is None:
            raise UserError(
                "how much memory is free cannot be measured on this system",
                where="tune batch",
                todo="Give --memory, such as 4GiB.",
            )
        return int(available * SHARE_OF_AVAILABLE)

    def _refuse(self, batch: int, report: Report) -> None:
        """What is no lack of memory ends the search, told as it is."""
        if report.trace:
            self._say(report.trace.rstrip())
            raise RunFailed(f"the run fails with batch {batch}: {report.problem}")
        raise UserError(report.problem)


def run_apart(request: Request, usable: int | None) -> Report:
    """Run the request in a process of its own; end it where it holds more than is usable."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "cvtrainer.jobs.tune.batch_try"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(vars(request)))
            process.stdin.close()
            peak = _watch(process, usable)
            if peak is not None:
                return Report(peak_bytes=peak, out_of_memory=True)
            answer = process.stdout.read()
        finally:
            process.kill()
            code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if answer:
            return Report(**json.loads(answer))
        if code == -9:  # nobody but the system's own guard of the memory does that
            return Report(out_of_memory=True)
        told.seek(0)
        return Report(problem=f"the process ended with {code}", trace=told.read()[-4000:] or "-")


def _watch(process: subprocess.Popen[str], usable: int | None) -> int | None:
    """Wait for the process; what it held where that was too much."""
    while process.poll() is None:
        if usable is not None:
            held = resident_bytes(process.pid)
            if held is not None and held > usable:
                process.kill()
                return held
        time.sleep(_LOOK_EVERY_S)
    return None
