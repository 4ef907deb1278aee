"""The ready configs at full length: what each reaches, next to what its header promises.

    python -m benchmarks.recipes                       # every apps/*/train.yaml, one after another
    python -m benchmarks.recipes picture_codes --write # one; its rows of docs/recipes.md made anew

Each runs through the command line in a copy of apps/ and configs/, with one thread. It exits 1 when
a run fails or does not reach what its header expects.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.near_empty import table

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "recipes.md", ROOT / "docs" / "zh-CN" / "recipes.md")
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
_PLACE = r"(?: in (?P<stage>[\w-]+))?"
EXPECTS = re.compile(rf"(?P<metric>\S+) (?P<sign>>=|<=) (?P<value>[-+\d.e]+){_PLACE}")
TAKES = re.compile(r"about (?P<count>[\d.]+) (?P<unit>s|min) on one core")
LATELY = re.compile(rf"(?P<metric>\S+) (?P<value>[-+\d.e]+) \(seed (?P<seed>\d+)\){_PLACE}")
FORMS = {"expects": EXPECTS, "takes": TAKES, "lately": LATELY}


class HeaderError(Exception):
    """A config whose first comment block does not say what it must."""


@dataclass(frozen=True)
class Expected:
    """A bound on the last evaluation of a stage, by default the last one."""

    metric: str
    at_least: bool
    bound: float
    stage: str | None = None

    def holds(self, value: float) -> bool:
        """False for a value that is no number."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True)
class Header:
    """What a config says of itself."""

    words: str
    expects: tuple[Expected, ...]
    seconds: float
    lately: tuple[tuple[str, str | None, float], ...]

    @classmethod
    def read(cls, config: Path) -> Header:
        """The comment lines at the beginning of the file."""
        found: dict[str, list[re.Match[str]]] = {name: [] for name in FORMS}
        words = []
        for number, line in enumerate(config.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.startswith("#"):
                break
            key, colon, rest = line[1:].strip().partition(": ")
            if not colon or key not in FORMS:
                words.append(line[1:].strip())
                continue
            match = FORMS[key].fullmatch(rest.strip())
            if match is None:
                raise HeaderError(
                    f"{config}:{number}: not understood: {line!r}; see docs/recipes.md"
                )
            found[key].append(match)
        if not words or not found["expects"] or len(found["takes"]) != 1:
            raise HeaderError(
                f"{config}: the first comment block needs a sentence, expects: and one takes:; "
                "see docs/recipes.md"
            )
        expects = tuple(
            Expected(m["metric"], m["sign"] == ">=", float(m["value"]), m["stage"])
            for m in found["expects"]
        )
        lately = tuple((m["metric"], m["stage"], float(m["value"])) for m in found["lately"])
        if {(one.metric, one.stage) for one in expects} != {one[:2] for one in lately}:
            raise HeaderError(f"{config}: each metric of expects: needs a lately:, and no other")
        for one in expects:
            seen = next(value for *place, value in lately if place == [one.metric, one.stage])
            if not one.holds(seen):
                raise HeaderError(f"{config}: {one.metric} was {seen:g} lately, expected is {one}")
        takes = found["takes"][0]
        seconds = float(takes["count"]) * (60 if takes["unit"] == "min" else 1)
        return cls(words[0], expects, seconds, lately)


@dataclass(frozen=True)
class Row:
    """One expectation and what came out."""

    config: str
    expected: Expected
    first: float
    last: float
    wall: float
    cpu: float

    @property
    def cells(self) -> list[str]:
        """As they stand in the table."""
        stage = f" ({self.expected.stage})" if self.expected.stage else ""
        return [
            f"`{self.config}`",
            f"{self.expected.metric}{stage}",
            f"{self.first:.4g}",
            f"{self.last:.4g}",
            str(self.expected),
            f"{self.wall:.0f}",
            f"{self.cpu:.0f}",
        ]


def configs() -> list[Path]:
    """Every ready config."""
    return sorted((ROOT / "apps").glob("*/train.yaml"))


def copy_of_apps(place: Path) -> Path:
    """A working folder with the apps and the shared templates, and nothing else."""
    for folder in ("apps", "configs"):
        ignored = shutil.ignore_patterns("logs", "__pycache__")
        shutil.copytree(ROOT / folder, place / folder, ignore=ignored)
    return place


def train(name: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run the config through the command line, in `place`."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    line = ["-m", "cvtrainer.cli", "train", "--config", f"apps/{name}/train.yaml"]
    return subprocess.run(
        [sys.executable, *line, "--run_dir", "run"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def values(run: Path, metric: str, stage: str | None) -> list[float]:
    """The metric at each evaluation of the stage, in their order."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    wanted = stage or records[-1]["stage"]
    return [float(one[metric]) for one in records if one["stage"] == wanted and metric in one]


def measure(config: Path) -> list[Row]:
    """One full run; a run that fails, or lacks a promised metric, raises."""
    name, header = config.parent.name, Header.read(config)
    with tempfile.TemporaryDirectory() as folder:
        place = copy_of_apps(Path(folder))
        cpu, start = _children_cpu(), time.perf_counter()
        done = train(name, place)
        wall, cpu = time.perf_counter() - start, _children_cpu() - cpu
        if done.returncode:
            raise RuntimeError(f"{name}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        rows = []
        for one in header.expects:
            seen = values(place / "run", one.metric, one.stage)
            if not seen:
                raise RuntimeError(f"{name}: no {one.metric} was measured")
            rows.append(Row(name, one, seen[0], seen[-1], wall, cpu))
        return rows


def put_into(page: Path, rows: Sequence[Row]) -> None:
    """Rows between the page's markers; those of configs that did not run stay."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise RuntimeError(f"{page} has no {BEGIN} and {END}")
    there = {config.parent.name for config in configs()}
    new = {row.config for row in rows}
    head, kept = [], []
    for line in old.strip().splitlines():
        name = re.match(r"\| `(\w+)` ", line)
        if name is None:
            head.append(line)
        elif name[1] in there - new:
            kept.append(line)
    lines = sorted([*kept, *(f"| {' | '.join(row.cells)} |" for row in rows)], key=_config_of)
    page.write_text(
        before + "\n".join([begin, "", *head, *lines, "", end]) + after, encoding="utf-8"
    )


def put_into_header(config: Path, rows: Sequence[Row]) -> None:
    """What was seen, as the header's `lately:` lines; what it expects stays."""
    new = {(row.expected.metric, row.expected.stage): row.last for row in rows}
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.startswith("#"):
            break
        match = LATELY.fullmatch(line[1:].strip().removeprefix("lately: "))
        if match is None:
            continue
        value = new[match["metric"], match["stage"]]
        place = f" in {match['stage']}" if match["stage"] else ""
        lines[number] = f"# lately: {match['metric']} {value:.4g} (seed {match['seed']}){place}\n"
    config.write_text("".join(lines), encoding="utf-8")


def _config_of(line: str) -> str:
    return line.split("|")[1]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run, print, compare."""
    parser = argparse.ArgumentParser(description="The ready configs at full length.")
    parser.add_argument("names", nargs="*", help="folders of apps/; all of them by default")
    parser.add_argument("--write", action="store_true", help="into docs/recipes.md and the headers")
    args = parser.parse_args()
    there = {config.parent.name: config for config in configs()}
    unknown = sorted(set(args.names) - set(there))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there is {', '.join(there)}")
    rows: list[Row] = []
    failed = False
    for name in args.names or there:
        print(f"{name}: about {Header.read(there[name]).seconds:.0f} s", flush=True)
        try:
            rows += measure(there[name])
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed = True
    head = ("config", "metric", "first", "last", "expected", "wall s", "CPU s", "")
    missed = [row for row in rows if not row.expected.holds(row.last)]
    shown = [[*row.cells, "MISSED" if row in missed else ""] for row in rows]
    print(table(head, shown))
    if args.write:
        for page in PAGES:
            put_into(page, rows)
        for name in {row.config for row in rows} - {row.config for row in missed}:
            put_into_header(there[name], [row for row in rows if row.config == name])
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
