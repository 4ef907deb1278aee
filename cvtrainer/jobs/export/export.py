"""`cvtrainer export`: a run's best weights as the file that a device runs, with proof.

The artefact is written, opened again, and compared with the trained model on the whole evaluation
split. One that is not proven keeps `.unproven` at the end of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cvtrainer.core.claims import claim_of
from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.input_of_stage import input_of
from cvtrainer.deploy.operating.goal import goal_of
from cvtrainer.deploy.package.archive import SUFFIX as PACKAGE_SUFFIX
from cvtrainer.deploy.package.archive import is_package
from cvtrainer.deploy.targets.target import Target, targets_named
from cvtrainer.experiment.run_checkpoints import run_of
from cvtrainer.jobs.export.differing import write_differing
from cvtrainer.jobs.export.feed import feed_of
from cvtrainer.jobs.export.packing import write_package
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.export.wanted import Exported, Wanted
from cvtrainer.jobs.export.workshop import Workshop
from cvtrainer.jobs.load import Trained, open_trained


def export(
    source: str | Path, wanted: Wanted, *, say: Callable[[str], None] = print
) -> list[Exported]:
    """Each artefact that is wanted, proven or marked."""
    targets = targets_named(wanted.targets)
    pairs = _pairs(targets, wanted, say)
    if is_package(source):
        raise UserError(
            "a package is made by an export", where=str(source), todo="Give the run it came from."
        )
    if wanted.operate is not None:
        goal_of(wanted.operate)
    trained = open_trained(source, config=wanted.config)
    feed = feed_of(input_of(trained.stage))
    validation = Validation.of(trained)
    try:
        workshop = Workshop(trained, feed, validation, wanted, say)
        for target in targets:
            wanted.form.refuse_what_cannot_be(target, workshop.spec, workshop.input)
        for note in (*validation.notes, *workshop.spec.notes, *workshop.notes):
            say(note)
        folder = make_folder(wanted.out or _folder_of(trained))
        with claim_of(folder, _busy(folder)):
            done = [_whole(workshop, target, precision, folder) for target, precision in pairs]
        proven = [one.path for one in done if one.proven]
        if wanted.package is not None and proven and all(one.sound for one in done):
            file = wanted.package if wanted.package.name else folder / f"model{PACKAGE_SUFFIX}"
            config = Path(wanted.config) if wanted.config else _run_of(trained) / "config.yaml"
            write_package(file, proven, trained, config)
            done = [replace(one, package=file) if one.proven else one for one in done]
        return done
    finally:
        validation.close()


def _whole(workshop: Workshop, target: Target, precision: str, folder: Path) -> Exported:
    """The artefact with all that lies beside it, whatever becomes of the next one."""
    made = workshop.made(target, precision, folder)
    workshop.planned(made)
    workshop.run_unasked(made)
    away = made.proof.samples - round(made.proof.agreement * made.proof.samples)
    made.differing = write_differing(made.path, made.proof.differing, away)
    return made


def _pairs(
    targets: Sequence[Target], wanted: Wanted, say: Callable[[str], None]
) -> list[tuple[Target, str]]:
    """Which target in which precision."""
    found = []
    for precision in dict.fromkeys(wanted.precisions):
        for target in targets:
            there = target.capabilities.precisions
            if precision in there:
                found.append((target, precision))
            elif wanted.where_there:
                say(f"{target.name} has no {precision}; it has {', '.join(there)}")
            else:
                raise UserError(
                    f"{target.name} has no {precision}",
                    where="--precision",
                    todo=f"It has {', '.join(there)}.",
                )
    return found


def _busy(folder: Path) -> UserError:
    return UserError(
        "another export is writing into this folder",
        where=str(folder),
        todo="Wait for it to end, or give this one another --out.",
    )


def _folder_of(trained: Trained) -> Path:
    """Earlier stages have folders of their own, so that none takes the last one's place."""
    run = run_of(trained.checkpoint, trained.state)
    folder = (run.path if run is not None else trained.checkpoint.parent) / "artifacts"
    return folder if trained.is_last else folder / str(trained.stage["name"])


def _run_of(trained: Trained) -> Path:
    """The folder whose config was opened."""
    run = run_of(trained.checkpoint, trained.state)
    return run.path if run is not None else trained.checkpoint.parent.parent
