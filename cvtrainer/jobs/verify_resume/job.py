"""Runs a config straight, twice, and once more with kills, and says what differs and whose it is.

Also `cvtrainer.verify_resume(config)`. Every attempt is a process of its own in a folder of its
own; what differs is then looked at closely, in two more short attempts from the last border at
which all was equal.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.jobs.verify_resume.borders import Kill, choose_kills
from cvtrainer.jobs.verify_resume.compare import (
    Parting,
    Record,
    first_parting,
    log_partings,
    varying_leaves,
)
from cvtrainer.jobs.verify_resume.orders import START, Border, Orders, read_trace, records_of
from cvtrainer.jobs.verify_resume.owners import (
    from_layers,
    from_log,
    from_moments,
    from_nothing,
    from_start,
)
from cvtrainer.jobs.verify_resume.verdict import Difference, Length, Verdict

KILLS = 3


def verify_resume(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    kills: int = KILLS,
    steps: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Verdict:
    """Whether a run of this config, killed and resumed, is the unbroken run to the last bit.

    `steps` are optimizer steps of each stage (by default about 24 batches), `seed` chooses where
    the run is killed.
    """
    if kills < 1 or (steps is not None and steps < 1):
        raise UserError("kills and steps must be 1 or more", where="verify-resume")
    compile_config(config, overrides, purpose="train")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cvtrainer-verify-") as folder:
        attempts = _Attempts(Path(folder), config, list(overrides), steps, say)
        verdict = _compare(attempts, kills, seed)
    verdict.seconds = time.monotonic() - began
    return verdict


def _compare(attempts: _Attempts, kills: int, seed: int) -> Verdict:
    verdict = Verdict(attempts.config)
    straight = attempts.straight("one")
    again = attempts.straight("two")
    verdict.lengths = _lengths(straight)
    varying = varying_leaves(straight, again)
    verdict.varying = sorted(varying)
    parting = first_parting(straight, again, varying=varying)
    if parting is not None:
        verdict.deterministic = False
        verdict.differences.append(_owner(attempts, straight, parting, None))
        return verdict
    chosen = choose_kills(straight, kills, seed)
    if not chosen:
        raise UserError(
            "the run is too short to be killed before its end",
            where="verify-resume",
            todo="Verify it with more epochs or data.",
        )
    verdict.kills = [str(kill) for kill in chosen]
    for number, trace in enumerate(attempts.killed(chosen)):
        whole = number == len(chosen) or not attempts.saved(number).exists()
        parting = first_parting(straight, trace, varying=varying, to_the_end=whole)
        if parting is not None:
            resumed_from = attempts.saved(number - 1) if number else None
            verdict.differences.append(_owner(attempts, straight, parting, resumed_from))
            return verdict
    logs = [attempts.log(name) for name in ("one", "killed", "two")]
    verdict.differences += [from_log(*parted) for parted in log_partings(*logs)[:1]]
    return verdict


def _owner(
    attempts: _Attempts, straight: Sequence[Record], parting: Parting, resumed_from: Path | None
) -> Difference:
    """Look closely at the place where they part; without a checkpoint, two straight runs do."""
    stage = parting.record["border"][0]
    shown = next(one for one in records_of(straight, "stage") if one["stage"] == stage)
    parts = shown["parts"]
    twice = resumed_from is None
    if parting.is_batch:
        return _owner_of_batch(attempts, straight, parting, resumed_from, limit=shown["per_epoch"])
    if parting.before is None:
        if twice:
            return from_nothing(parting, parts, "two straight runs begin differently")
        return from_start(parting, parts, attempts.closely(START, resumed_from))
    one = attempts.closely(parting.before, None)
    two = attempts.closely(parting.before, resumed_from)
    return from_moments(parting, parts, one, two, twice_straight=twice)


def _owner_of_batch(
    attempts: _Attempts,
    straight: Sequence[Record],
    parting: Parting,
    resumed_from: Path | None,
    *,
    limit: int,
) -> Difference:
    """Make the batch alone: once from the beginning, once from where the run was resumed."""
    record = parting.record
    phase, stage = record["phase"], record["border"][0]
    served = [
        one
        for one in records_of(straight, "batch")
        if one["phase"] == phase and one["border"][0] == stage
    ]
    if phase == "train":
        last = [record["epoch"], record["number"]]
        first = [1, 0]
        begin = first if resumed_from is None else attempts.position(resumed_from)
    else:  # evaluations are counted; each reads its split from the beginning
        last, first = [record["evaluation"], record["number"]], [1, 0]
        begin = first if resumed_from is None else [*last[:1], 0]
        limit = 1 + max(one["number"] for one in served)
    wanted = {"stage": stage, "phase": phase, "last": last, "limit": limit}
    one = attempts.batches({**wanted, "first": first, "out_at": begin})
    two = attempts.batches({**wanted, "first": begin, "in": resumed_from is not None})
    return from_layers(parting, one, two, twice_straight=resumed_from is None)


def _lengths(straight: Sequence[Record]) -> list[Length]:
    """What a straight run has gone through."""
    lengths = []
    for shown in records_of(straight, "stage"):
        borders = records_of(straight, "border")
        last = [one for one in borders if one["border"][0] == shown["stage"]][-1]
        batches = sum(
            one["phase"] == "train" and one["border"][0] == shown["stage"]
            for one in records_of(straight, "batch")
        )
        lengths.append(Length(shown["stage"], batches, last["step"], last["border"][1]))
    return lengths


class _Attempts:
    """The processes, and the files they leave."""

    def __init__(
        self,
        folder: Path,
        config: Any,
        overrides: list[str],
        steps: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._overrides = overrides
        self._steps = steps
        self._say = say
        self._count = 0
        self._saves: list[tuple[Path, Kill]] = []
        if isinstance(config, Mapping):
            written = folder / "config.json"
            written.write_text(json.dumps(dict(config)), encoding="utf-8")
            config = written
        self.config = str(config)

    def straight(self, name: str) -> list[Record]:
        """From the beginning to the end."""
        return self._run(f"straight run {name}", folder=str(self._folder / name))

    def killed(self, kills: Sequence[Kill]) -> Iterator[list[Record]]:
        """One run in several attempts, each from where the one before was killed."""
        resume: str | None = None
        for number, kill in enumerate(kills):
            path = self._folder / "killed" / "borders" / f"{number}.pth"
            trace = self._run(
                f"run with kill {number + 1}",
                killed=True,
                folder=str(self._folder / "killed"),
                resume=resume,
                save_at=list(kill.border),
                save_closed=kill.closed,
                save_path=str(path),
                more_batches=kill.more_batches,
            )
            self._saves.append((path, kill))
            yield trace
            if not path.exists():
                raise RunFailed(f"the run never came to the place of its kill, {kill}")
            resume = str(path)
        yield self._run("the last resume", folder=str(self._folder / "killed"), resume=resume)

    def saved(self, number: int) -> Path:
        """The checkpoint at that kill."""
        return self._saves[number][0]

    def position(self, path: Path) -> list[int]:
        """Epoch and batch that follow that checkpoint."""
        kill = next(kill for saved, kill in self._saves if saved == path)
        return [kill.border.epoch + 1, 0] if kill.closed else [kill.border.epoch, kill.border.batch]

    def closely(self, border: Border | str, resumed_from: Path | None) -> list[Record]:
        """Every moment from that border to the next, straight or resumed."""
        self._count += 1
        name = "killed" if resumed_from is not None else f"closely_{self._count}"
        return self._run(
            "looking closely",
            killed=True,
            folder=str(self._folder / name),
            resume=str(resumed_from) if resumed_from is not None else None,
            closely=border if isinstance(border, str) else list(border),
        )

    def batches(self, wanted: Mapping[str, Any]) -> list[Record]:
        """The batches alone; generators go on from where the other attempt had them."""
        between = str(self._folder / "generators.pth")
        data = {key: wanted[key] for key in ("stage", "phase", "first", "last", "limit")}
        if wanted.get("out_at"):
            data |= {"random_out": between, "random_out_at": wanted["out_at"]}
        if wanted.get("in") and Path(between).is_file():
            data["random_in"] = between
        return self._run("batches alone", folder=str(self._folder / "data"), data=data)

    def log(self, name: str) -> list[Record]:
        """What was logged, in the order in which it was written."""
        file = self._folder / name / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [json.loads(line) for line in lines]

    def _run(self, what: str, *, killed: bool = False, **orders: Any) -> list[Record]:
        self._count += 1
        trace = self._folder / f"{self._count}.jsonl"
        given = Orders(
            self.config, self._overrides, trace=str(trace), steps=self._steps, **orders
        ).write(self._folder / f"{self._count}.json")
        self._say(what)
        output = self._folder / f"{self._count}.txt"
        code = run_child(given, output)
        told = output.read_text(encoding="utf-8", errors="replace")
        if code == 0 or (killed and code == -signal.SIGKILL):
            return list(read_trace(trace))
        if code == UserError.exit_code:
            raise UserError(told.strip().splitlines()[-1] if told.strip() else "the input is wrong")
        print(told, file=sys.stderr)
        raise RunFailed(
            f"the attempt ({what}) ended with code {code}; its output is above",
            where="verify-resume",
            todo="Make the config train first.",
        )


def run_child(orders: Path, output: Path) -> int:
    """Carry out orders in a process of its own; its exit code, or minus the signal that ended it.

    What it prints goes to a file, because its workers may keep a pipe open for a while.
    """
    words = [sys.executable, "-m", "cvtrainer.jobs.verify_resume.child", str(orders)]
    with output.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        finally:
            process.kill()
