"""Predict many inputs and write what is said of them; what cannot be read is told and passed over.

Answers come in the order of the inputs. Nothing of a run is changed. A package is asked without
torch, so what needs torch is imported where a run is meant.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, whole_file, write_whole
from cvtrainer.deploy.package.archive import is_package
from cvtrainer.jobs.prediction.writing import Row, json_line, rows_of, table_text

if TYPE_CHECKING:
    from cvtrainer.deploy.package.model import PackagedModel
    from cvtrainer.jobs.load import LoadedModel
    from cvtrainer.jobs.prediction.pictures import Pictures


@dataclass(frozen=True)
class Wanted:
    """Where answers go: a folder for all of it, files of their own, standard output.

    `make` asks for so many inputs that the task itself draws from `seed`; `artefact` is one of a
    package's.
    """

    out: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    draw: bool = False
    batch_size: int = 32
    make: int | None = None
    seed: int = 0
    artefact: str | None = None


@dataclass
class Done:
    """How many were read, which were not and why, and the files written."""

    read: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    drawn: int = 0
    made: int = 0


def source_of(
    *, run: str | None, checkpoint: str | None, config: str | None, words: list[str]
) -> tuple[str, str | None]:
    """What `load` is given: a run folder or file, and a config where the run's does not count.

    A package among the words, as the first, is taken from them.
    """
    if run is None and checkpoint is None and config is None and words and is_package(words[0]):
        return words.pop(0), None
    if run is None and checkpoint is None:
        raise UserError(
            "which model?",
            todo="Give a package, --run FOLDER, or --checkpoint FILE (and --config FILE).",
        )
    if run is None:
        return str(checkpoint), config
    if checkpoint is None:
        if config is not None:
            raise UserError(
                "--config beside --run", todo="A run has its own; add --checkpoint FILE instead."
            )
        return run, None
    return checkpoint, config or str(Path(run) / "config.yaml")


def predict(
    source: tuple[str, str | None], inputs: Sequence[str], wanted: Wanted, *, device: str = "auto"
) -> Done:
    """Answer each input and write what is wanted."""
    if wanted.draw and wanted.out is None:
        raise UserError("--draw needs a folder", todo="Give --out DIR too.")
    if bool(inputs) == (wanted.make is not None):
        raise UserError(
            "of which inputs?", todo="Give files, folders or patterns; or, instead, --make N."
        )
    model = _opened(source, wanted, device)
    if wanted.draw and not model.takes_pictures:
        raise UserError(
            "this model takes no pictures, so there is nothing to draw on",
            where=source[0],
            todo="Leave out --draw.",
        )
    done = Done()
    rows: list[Row] = []
    to_json, to_csv = _files(wanted)
    pictures = _folder(wanted.out / "pictures", model) if wanted.draw and wanted.out else None
    made: Pictures | None = None
    noted: set[str] = set()
    with ExitStack() as stack:
        lines = stack.enter_context(whole_file(to_json)) if to_json else None
        for answer in _answers(model, inputs, wanted):
            name = answer.input.name
            if answer.error is not None:
                done.failed.append((name, answer.error))
                _say(f"{name}: {answer.error}; skipped")
                continue
            done.read += 1
            if answer.note is not None and answer.note not in noted:
                noted.add(answer.note)
                _say(f"{name}: places are in the network's input, not in the file: {answer.note}")
            line = json_line(name, answer.told)
            if lines is not None:
                lines.write(f"{line}\n".encode())
            elif to_csv is None:
                print(line)
            if to_csv is not None:
                rows += rows_of(name, answer.told, answer.below)
            pixels = model.pixels(answer) if pictures is not None else None
            if pictures is not None and pixels is not None:
                pictures.draw(answer, pixels)
                done.drawn += 1
            if answer.pictures and wanted.out is not None:
                made = made or _folder(wanted.out / "made", model)
                done.made += made.write(answer)
    if to_csv is not None:
        write_whole(to_csv, table_text(rows))
    done.files = [path for path in (to_json, to_csv) if path is not None]
    return done


def _files(wanted: Wanted) -> tuple[Path | None, Path | None]:
    """The files of lines and of rows; a folder gets both."""
    if wanted.out is None:
        return wanted.json, wanted.csv
    make_folder(wanted.out)
    return (
        wanted.json or wanted.out / "predictions.jsonl",
        wanted.csv or wanted.out / "predictions.csv",
    )


def _opened(
    source: tuple[str, str | None], wanted: Wanted, device: str
) -> LoadedModel | PackagedModel:
    if not is_package(source[0]):
        from cvtrainer.jobs.load import load

        if wanted.artefact is not None:
            raise UserError("--artefact is one of a package's", where=source[0])
        return load(source[0], config=source[1], device=device)
    from cvtrainer.deploy.package.model import load_package

    if wanted.make is not None:
        raise UserError("--make needs a run, not a package", where=source[0])
    return load_package(source[0], artefact=wanted.artefact)


def _answers(
    model: LoadedModel | PackagedModel, inputs: Sequence[str], wanted: Wanted
) -> Iterator[Any]:
    if wanted.make is not None:
        made: Any = model
        answers: Iterator[Any] = made.make(
            wanted.make, seed=wanted.seed, batch_size=wanted.batch_size
        )
        return answers
    return model.answers(list(inputs), batch_size=wanted.batch_size)


def _folder(folder: Path, model: LoadedModel | PackagedModel) -> Pictures:
    from cvtrainer.jobs.prediction.pictures import Pictures

    make_folder(folder)
    return Pictures(folder, model.classes)


def _say(text: Any) -> None:
    print(text, file=sys.stderr)
