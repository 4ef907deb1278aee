"""Trained models as artefacts of every target, fp32 and int8: one table, also for docs/deploy.md.

    python -m benchmarks.deploy --data FOLDER                       # trains all four, hours
    python -m benchmarks.deploy --data FOLDER --run bccd=RUN --only bccd --targets onnx --write

Every artefact goes through `cvtrainer export` as it is: from the bytes of the evaluation split's
files, with the limits of each metric, up the ladder where int8 misses them. Rows that are not made
anew stay on the page. Exits 1 when an artefact is not proven; one that cannot run here is no error.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.near_empty import table
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import input_of
from cvtrainer.deploy.contract import read_contract
from cvtrainer.deploy.targets.target import TARGETS, target_named
from cvtrainer.jobs.export.feed import feed_of
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.export.wanted import Exported, Wanted
from cvtrainer.jobs.export.workshop import Workshop
from cvtrainer.jobs.load import open_trained

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "deploy.md", ROOT / "docs" / "zh-CN" / "deploy.md")
BEGIN, END = "<!-- artefacts: begin -->", "<!-- artefacts: end -->"
HEADS = ("model", "target", "precision", "agreement", "metric", "trained", "artefact")
COSTS = ("KiB", "seconds", "int8 ended at")


@dataclass(frozen=True)
class Model:
    """What is trained, and the metric of its row; `folder` is below the data folder."""

    config: str
    metric: str
    folder: str | None = None


MODELS = {
    "digits": Model("apps/digits/train.yaml", "accuracy"),
    "sign_digits": Model("benchmarks/real/sign_digits.yaml", "accuracy", "sign-language-digits"),
    "bccd": Model("benchmarks/real/bccd.yaml", "map_50", "bccd-voc"),
    "pets": Model("benchmarks/real/pets.yaml", "miou", "pets-trimap"),
}


@dataclass(frozen=True)
class Row:
    """One artefact, or why there is none."""

    model: str
    target: str
    precision: str
    cells: tuple[str, ...]
    proven: bool

    @property
    def line(self) -> str:
        """As it stands on the page."""
        return f"| {' | '.join((self.model, self.target, self.precision, *self.cells))} |"


def trained_run(model: Model, data: Path, run: Path, words: Sequence[str]) -> Path:
    """Train into that folder."""
    given = [] if model.folder is None else [f"vars.data={data / model.folder}"]
    command = [sys.executable, "-m", "cvtrainer", "train", "--config", model.config]
    subprocess.run([*command, *given, *words, "--run_dir", str(run)], cwd=ROOT, check=True)
    return run


def rows_of(name: str, run: Path, out: Path, given: argparse.Namespace) -> Iterator[Row]:
    """Each artefact of a run; what all of them share is made once, in the first one's time."""
    trained = open_trained(run)
    feed = feed_of(input_of(trained.stage))
    validation = Validation.of(trained)
    try:
        workshop = Workshop(trained, feed, validation, Wanted(sample=given.sample), _say)
        for precision in given.precisions:
            for target in given.targets:
                if precision not in target_named(target).capabilities.precisions:
                    continue
                folder = out / target
                folder.mkdir(parents=True, exist_ok=True)
                start = time.perf_counter()
                try:
                    done = workshop.made(target_named(target), precision, folder)
                except UserError as error:
                    nothing = ("", "", "", "", "", "", str(error).splitlines()[0])
                    yield Row(name, target, precision, nothing, proven=True)
                    continue
                seconds = time.perf_counter() - start
                yield Row(name, target, precision, cells_of(done, name, seconds), done.sound)
    finally:
        validation.close()


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def cells_of(done: Exported, name: str, seconds: float) -> tuple[str, ...]:
    """What the table says of an artefact."""
    metric, proof = MODELS[name].metric, done.proof
    costs = (f"{done.size / 1024:.0f}", f"{seconds:.0f}")
    if not proof.samples:
        return ("", metric, "", "", *costs, "converted, not run here")
    figures = (f"{proof.trained[metric]:.4f}", f"{proof.artefact[metric]:.4f}")
    alike = f"{100 * proof.agreement:.1f} %"
    if proof.likeness != proof.agreement:
        alike += f" ({100 * proof.likeness:.1f} %)"
    return (alike, metric, *figures, *costs, end_of(done))


def end_of(done: Exported) -> str:
    """The rung of the ladder, or what speaks against the artefact."""
    rungs = read_contract(done.path).proof.get("ladder")
    if done.failures:
        return f"not proven: {done.failures[0].partition(', such as')[0]}"
    told = ["as asked"] if done.precision == "int8" else []
    if rungs:
        told = [f"rung {len(rungs)}, {rungs[-1]['rung']}"]
    if done.checked is not None:
        told.append("compared by another runtime")
    return "; ".join(told)


def put_into(page: Path, rows: Sequence[Row]) -> None:
    """Rows between the page's markers, in the order of models and targets; others stay."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise RuntimeError(f"{page} has no {BEGIN} and {END}")
    lines = old.strip().splitlines()
    head, kept = lines[:2], {_key(line): line for line in lines[2:]}
    kept |= {_key(row.line): row.line for row in rows}
    names = [*MODELS, *TARGETS, "fp32", "fp16", "int8"]
    order = sorted(kept, key=lambda key: [names.index(word) for word in key])
    made = "\n".join([begin, "", *head, *(kept[key] for key in order), "", end])
    page.write_text(f"{before}{made}{after}", encoding="utf-8")


def _key(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|")[1:4])


def installed() -> list[str]:
    """Targets whose packages are there."""
    found = []
    for name in TARGETS:
        with suppress(UserError):
            found.append(target_named(name).name)
    return found


def main() -> int:
    """Train, export, print, write."""
    given = _words()
    runs = dict(one.split("=", 1) for one in given.run)
    rows: list[Row] = []
    with TemporaryDirectory() as scratch:
        place = given.keep or Path(scratch)
        for name in given.only:
            run = Path(runs[name]) if name in runs else place / name
            if name not in runs:
                trained_run(MODELS[name], given.data.absolute(), run.absolute(), given.words)
            for row in rows_of(name, run, place / f"{name}_artefacts", given):
                rows.append(row)
                print(row.line, flush=True)
                if given.write:
                    for page in PAGES:
                        put_into(page, [row])
    cells = [[row.model, row.target, row.precision, *row.cells] for row in rows]
    print(f"\n{table([*HEADS, *COSTS], cells)}")
    return int(not all(row.proven for row in rows))


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Models as artefacts of every target.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds the data sets")
    parser.add_argument("--run", nargs="*", default=[], metavar="MODEL=RUN", help="trained ones")
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--targets", type=_list, default=None, help="those that are installed")
    parser.add_argument("--precisions", type=_list, default=["fp32", "int8"])
    parser.add_argument("--sample", type=int, default=256, help="pictures to calibrate on")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep runs and artefacts there")
    parser.add_argument("--write", action="store_true", help="rows into docs/deploy.md")
    parser.add_argument("words", nargs="*", metavar="key=value", help="overrides of the configs")
    given = parser.parse_args()
    given.targets = given.targets or installed()
    return given


def _list(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
