"""What the real-data scripts have in common: train with each seed, score the test part once.

A script states a `Study`; its config is NAME.yaml beside this file and takes the data set's folder
as `vars.data`. Training and scoring are the command line's own `train` and `eval`, in processes of
their own. Peers of benchmarks/peers report in the same form and join the table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.near_empty import table
from benchmarks.peers.run import environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPLITS = HERE / "splits"
DATA_VARIABLE = "CVTRAINER_DATA_SETS"
_OURS = "cvtrainer"


@dataclass(frozen=True)
class Goal:
    """A metric as `cvtrainer eval` names it, and what its mean over the seeds must reach."""

    metric: str
    bar: float
    higher: bool = True

    def reached(self, value: float) -> bool:
        """Whether the value is as good as the bar."""
        return value >= self.bar if self.higher else value <= self.bar


@dataclass(frozen=True)
class Study:
    """A data set's folder below the data folder, and the goals on its test part."""

    name: str
    folder: str
    goals: tuple[Goal, ...]
    split: str = "test"
    peers: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        """What is trained."""
        return HERE / f"{self.name}.yaml"


@dataclass(frozen=True)
class Outcome:
    """One training: scores on the test part, and what training them took, without scoring."""

    who: str
    seed: int
    scores: Mapping[str, float]
    wall_s: float
    cpu_s: float
    parameters: int


def main(study: Study, arguments: Sequence[str] | None = None) -> int:
    """Run every seed, print the tables; 1 where our mean misses a bar."""
    given = _words(study, arguments)
    overrides = [*given.words, *([f"epochs={given.epochs}"] if given.epochs else [])]
    outcomes = _joined(given.join)
    known = {(one.who, one.seed) for one in outcomes}
    with tempfile.TemporaryDirectory() as scratch:
        place = given.keep or Path(scratch)
        for seed in given.seeds:
            if (_OURS, seed) in known:
                continue
            outcomes.append(run_seed(study, given.data, seed, overrides, place))
            print(line(study, outcomes[-1]), flush=True)
    for peer in given.peers:
        for found in run_peer(study, peer, given):
            outcomes.append(found)
            print(line(study, found), flush=True)
    print(f"\n{summary(study, outcomes)}")
    if given.out:
        given.out.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    ours = [one for one in outcomes if one.who == _OURS]
    means = {
        goal: statistics.fmean(one.scores[goal.metric] for one in ours) for goal in study.goals
    }
    return int(not all(goal.reached(mean) for goal, mean in means.items()))


def run_seed(study: Study, data: Path, seed: int, overrides: Sequence[str], place: Path) -> Outcome:
    """Train with that seed into `place`, then score its best checkpoint, once."""
    run = (place / f"{study.name}_{seed}").absolute()
    words = [f"vars.data={data / study.folder}", f"seed={seed}", *overrides]
    before, start = _cpu_seconds(), time.perf_counter()
    _cvtrainer("train", study, words, "--run_dir", str(run))
    wall, cpu = time.perf_counter() - start, _cpu_seconds() - before
    best = sorted(run.rglob("best_model.pth"), key=lambda path: path.stat().st_mtime)
    if not best:
        raise SystemExit(f"{run}: training kept no best_model.pth")
    told = ("--checkpoint", str(best[-1]), "--split", study.split, "--json")
    scores: dict[str, float] = json.loads(_cvtrainer("eval", study, words, *told))
    parameters = int(json.loads(_cvtrainer("model", study, words, "--json"))["parameters"])
    return Outcome(_OURS, seed, scores, wall, cpu, parameters)


def run_peer(study: Study, peer: str, given: argparse.Namespace) -> list[Outcome]:
    """What benchmarks/peers/PEER.py reports: a line of JSON for each seed, an `Outcome` each."""
    python = environment(peer, borrow=given.borrow)
    told = ["--set", study.name, "--data", str(given.data / study.folder)]
    told += ["--seeds", *map(str, given.seeds)]
    told += ["--epochs", str(given.epochs)] if given.epochs else []
    command = [str(python), "-m", f"benchmarks.peers.{peer}", *told]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = [text for text in done.stdout.splitlines() if text.startswith('{"who"')]
    return [Outcome(**json.loads(text)) for text in lines]


def line(study: Study, one: Outcome) -> str:
    """One seed in one line."""
    scores = "  ".join(f"{goal.metric} {one.scores[goal.metric]:.4f}" for goal in study.goals)
    cost = f"{one.wall_s:.0f} s, {one.cpu_s:.0f} CPU s, {one.parameters:,} parameters"
    return f"{one.who}, seed {one.seed}: {scores}  ({cost})"


def summary(study: Study, outcomes: Sequence[Outcome]) -> str:
    """Mean and deviation over the seeds of everybody who took part."""
    rows = []
    for who in dict.fromkeys(one.who for one in outcomes):
        theirs = [one for one in outcomes if one.who == who]
        cells = [_spread([one.scores[goal.metric] for one in theirs]) for goal in study.goals]
        wall, cpu = ([one.wall_s for one in theirs], [one.cpu_s for one in theirs])
        costs = [f"{statistics.fmean(wall):.0f}", f"{statistics.fmean(cpu):.0f}"]
        rows.append([who, str(len(theirs)), *cells, *costs, f"{theirs[0].parameters:,}"])
    bars = [f"{'>=' if goal.higher else '<='} {goal.bar:g}" for goal in study.goals]
    rows.append(["bar", "", *bars, "", "", ""])
    heads = ["who", "seeds", *(goal.metric for goal in study.goals), "wall s", "CPU s"]
    return table([*heads, "parameters"], rows)


def _joined(files: Sequence[Path]) -> list[Outcome]:
    """What was measured before."""
    return [Outcome(**told) for file in files for told in json.loads(file.read_text())]


def _spread(values: Sequence[float]) -> str:
    """Mean and sample deviation; one value has no deviation."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"


def _cvtrainer(verb: str, study: Study, words: Sequence[str], *told: str) -> str:
    """What the verb prints; where it fails, its last lines go on to the reader."""
    action = ["show"] if verb == "model" else []
    command = [sys.executable, "-m", "cvtrainer", verb, *action, "--config", str(study.config)]
    done = subprocess.run(
        [*command, *words, *told],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise SystemExit(f"cvtrainer {verb} ended with {done.returncode}:\n{tail}")
    return done.stdout


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _words(study: Study, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"train and score {study.name}")
    named = os.environ.get(DATA_VARIABLE)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(named) if named else None,
        required=not named,
        help=f"the folder that holds {study.folder}; default ${DATA_VARIABLE}",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="other than the config's")
    parser.add_argument("--peers", nargs="*", choices=study.peers, default=[])
    parser.add_argument("--borrow", action="store_true", help="peers share this torch")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the run folders there")
    parser.add_argument("--out", type=Path, metavar="FILE", help="all outcomes as JSON")
    parser.add_argument(
        "--join",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what --out wrote before joins the table; its seeds are not trained again",
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="overrides of the config")
    given = parser.parse_args(arguments)
    given.data = given.data.absolute()
    return given
