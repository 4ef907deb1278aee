"""What an artefact is worth: a config's metrics on a split, from file bytes or from arrays.

The artefact is a file or folder with its contract beside it, or one in a package. Where its run is
known (it lies in one, one is given, a package holds the weights), the trained model is measured on
the same samples and both are compared. Metrics are of the outputs; what an operating point makes of
them is told apart from these.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import evaluation_block
from cvtrainer.deploy.artefact import size_of
from cvtrainer.deploy.contract import Contract, note_of_changes, read_contract
from cvtrainer.deploy.package.archive import package_of
from cvtrainer.deploy.package.contents import CONFIG, WEIGHTS
from cvtrainer.deploy.package.model import load_package
from cvtrainer.deploy.runtime.decoded import Decoded
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.experiment import Experiment
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.export.proof import prove
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.export.witness import Witness
from cvtrainer.jobs.load import Trained, open_trained
from cvtrainer.telling.kinds import telling_of
from cvtrainer.telling.operating import Operating


@dataclass(frozen=True)
class Whose:
    """Where data, metrics and the trained model come from: a run or checkpoint, a config, both."""

    source: Path | None = None
    config: Path | None = None
    overrides: Sequence[str] = ()


@dataclass
class Measured:
    """`trained` and `agreement` are None where the trained model is not known, `operating` where
    the artefact has no operating point; its figures are those of what is answered at the point."""

    artefact: str
    target: str
    precision: str
    split: str
    samples: int
    size_bytes: int
    metrics: dict[str, float]
    trained: dict[str, float] | None = None
    agreement: float | None = None
    likeness: float | None = None
    disagreeing: list[str] = field(default_factory=list)
    operating: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Opened:
    """An artefact on the disk, and what a package gives with it."""

    path: Path
    contract: Contract
    name: str
    inside: Whose | None = None


def evaluate_artifact(
    artefact: str | Path, whose: Whose | None = None, *, split: str | None = None
) -> Measured:
    """Measure it on the evaluation split, or on `split`; nothing is written."""
    path = Path(artefact)
    with _opened(path) as opened:
        found = whose or Whose()
        if found.source is None and found.config is None:
            found = replace(opened.inside or _run_around(path), overrides=found.overrides)
        trained = _trained(found, opened.contract)
        known = found.source is not None
        return _measured(opened, trained, split, known=known)


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """Of a package the one that is named, or the first that runs here."""
    package, asked = package_of(path)
    if package is None and not path.exists():
        raise UserError("no such artefact", where=str(path))
    if package is None:
        contract = read_contract(path)
        note = note_of_changes(path, contract)
        if note is not None:
            print(note, file=sys.stderr)
        yield _Opened(path, contract, path.name)
        return
    model = load_package(package, artefact=asked)
    archive = model.contents.archive
    with TemporaryDirectory(prefix="cvtrainer-") as folder:
        place = Path(folder)
        inside = Whose(archive.write_below(WEIGHTS, place), archive.write_below(CONFIG, place))
        file = archive.write_below(model.artefact, place)
        yield _Opened(file, model.contract, f"{package.name}: {model.artefact}", inside)


def _run_around(path: Path) -> Whose:
    """The run in whose folder the artefact lies."""
    for folder in path.absolute().parents:
        if (folder / "run.json").is_file():
            return Whose(folder)
    raise UserError(
        "the artefact lies in no run, so its data and metrics are not known",
        where=str(path),
        todo="Give the run's folder, or the config: cvtrainer eval RUN --artifact FILE.",
    )


def _trained(whose: Whose, contract: Contract) -> Trained:
    """The trained model; where weights are not known, one that has never seen anything."""
    if whose.source is not None:
        if whose.overrides:
            raise UserError(
                f"{whose.overrides[0]}: a run's own config is used as it is",
                todo="Give --config FILE in place of the run to change it.",
            )
        trained = open_trained(whose.source, config=whose.config)
    else:
        assert whose.config is not None
        compiled = compile_config(whose.config, whose.overrides, purpose="eval")
        stage = compiled.resolved["stages"][-1]
        experiment = Experiment(compiled.path)
        task: Any = experiment.task(stage)
        for network in task.networks.values():
            network.eval()
        trained = Trained(task, stage, experiment, {}, whose.config, torch.device("cpu"))
    classes = None if contract.classes is None else list(contract.classes)
    if trained.classes is None and classes is not None:
        trained.state = {**trained.state, "classes": classes}
    if trained.classes != classes:
        raise UserError(
            f"the artefact knows {_few(classes)}, the model {_few(trained.classes)}",
            where=str(whose.source or whose.config),
            todo="Give the run that the artefact is from.",
        )
    return trained


def _few(classes: list[str] | None) -> str:
    """For a message."""
    if classes is None:
        return "no classes"
    return f"{len(classes)} classes ({', '.join(classes[:3])}{', …' if len(classes) > 3 else ''})"


def _measured(opened: _Opened, trained: Trained, split: str | None, *, known: bool) -> Measured:
    contract = opened.contract
    runner = runner_of(opened.path, contract)
    telling = telling_of(contract.reading, opened.name)
    reader, meters = Decoded(runner, telling), trained.experiment.meters(trained.stage)
    witness = None if contract.operating is None else Witness(telling, meters)
    validation = Validation.of(trained, split=split)
    try:
        for note in validation.notes:
            print(note, file=sys.stderr)
        first = validation.first(trained.device)
        if contract.spec.name not in first:
            there = ", ".join(first)
            raise UserError(
                f"the contract prepares {contract.spec.name!r}, and batches have {there}",
                where=opened.name,
                todo="Give the run that the artefact is from.",
            )
        graph = Graph(trained, contract.spec.name, first)
        see = None if witness is None else witness.see
        proof = prove(graph, reader, contract, validation, meters, trained.device, see=see)
    finally:
        validation.close()
    measured = Measured(
        opened.name,
        contract.target,
        contract.precision,
        validation.phase,
        proof.samples,
        size_of(opened.path),
        _named(proof.artefact, validation.phase),
    )
    if witness is not None and contract.operating is not None:
        block = (trained.stage.get("dataloader") or {}).get(validation.phase)
        found_here = block is evaluation_block(trained.stage)
        measured.operating = _judged(witness, contract, opened.name, found_here=found_here)
    if known:
        measured.trained = _named(proof.trained, validation.phase)
        measured.agreement, measured.likeness = proof.agreement, proof.likeness
        measured.disagreeing = proof.disagreeing
    return measured


def _judged(witness: Witness, contract: Contract, name: str, *, found_here: bool) -> dict[str, Any]:
    """What is answered at the artefact's operating point; `cross_fitted` is what that is worth on
    the split where it was found, and where these figures would flatter."""
    told: Mapping[str, Any] = contract.operating or {}
    figures = witness.judged(Operating.of_plain(told, name), contract.classes)
    cross_fitted = told.get("measured") if found_here else None
    return {
        **{word: told.get(word) for word in ("goal", "temperature", "thresholds")},
        **figures,
        "found_here": found_here,
        "cross_fitted": cross_fitted,
    }


def _named(metrics: dict[str, float], phase: str) -> dict[str, float]:
    return {f"{phase}/{name}": value for name, value in metrics.items()}
