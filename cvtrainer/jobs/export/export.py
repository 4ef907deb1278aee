"""`cvtrainer export`: a run's best weights as the file that a device runs, with proof.

The artefact is written, opened again, and compared with the trained model on the whole evaluation
split. One that is not proven keeps `.unproven` at the end of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.input_of_stage import input_spec_of
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.artefact import remove_artefact, rename_artefact, size_of
from cvtrainer.deploy.contract import UNPROVEN, Contract, write_contract
from cvtrainer.deploy.operating.goal import goal_of
from cvtrainer.deploy.package.archive import SUFFIX as PACKAGE_SUFFIX
from cvtrainer.deploy.package.archive import is_package
from cvtrainer.deploy.program import Program, captured
from cvtrainer.deploy.quantize.ladder import Ladder, Score
from cvtrainer.deploy.quantize.measured import Measured
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.runtime.decoded import Decoded
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import (
    CheckingTarget,
    QuantisingTarget,
    Target,
    rounds_itself,
    targets_named,
)
from cvtrainer.experiment.run_checkpoints import run_of
from cvtrainer.jobs.export.aware import refuse_other_numbers, rounded_program, without_rounding
from cvtrainer.jobs.export.calibration import calibration_sample
from cvtrainer.jobs.export.differing import write_differing
from cvtrainer.jobs.export.form import Form
from cvtrainer.jobs.export.graph import Graph, told_of
from cvtrainer.jobs.export.known import Known
from cvtrainer.jobs.export.ladder import Doctor, TorchRunner, remove_pages, score_of
from cvtrainer.jobs.export.limits import Drop, Limits
from cvtrainer.jobs.export.packing import write_package
from cvtrainer.jobs.export.planning import Planner
from cvtrainer.jobs.export.proof import Proof, prove
from cvtrainer.jobs.export.short_qat import ShortTraining
from cvtrainer.jobs.export.validation import Validation, shape_of
from cvtrainer.jobs.export.witness import witness_of
from cvtrainer.jobs.load import Trained, open_trained
from cvtrainer.telling.kinds import telling_of


@dataclass(frozen=True)
class Wanted:
    """Which artefacts; `max_drop` is how much worse each metric may be. `sample` pictures of the
    training data calibrate 8-bit numbers. `package` is the file that holds everything; a path
    without a name means `model.cvt` beside the artefacts."""

    targets: Sequence[str] = ("onnx",)
    precisions: Sequence[str] = ("fp32",)
    out: Path | None = None
    max_drop: Drop = None
    config: str | None = None
    scheme: Scheme = field(default_factory=Scheme)
    sample: int = 256
    package: Path | None = None
    ladder: bool = True
    """Whether other schemes are tried where 8-bit numbers miss their limit."""
    qat: int = 0
    """Epochs of training with rounding among what is tried; 0: it is not."""
    operate: str | None = None
    """The goal of an operating point, such as `precision=0.95`."""
    form: Form = field(default_factory=Form)


@dataclass
class Exported:
    """One artefact and how its proof went."""

    target: str
    precision: str
    path: Path
    contract: Path
    proof: Proof
    failures: list[str] = field(default_factory=list)
    may_drop: Mapping[str, float] = field(default_factory=dict)
    """By how much each metric that it is judged by may be worse."""
    package: Path | None = None
    """The package that it is a part of."""
    checked: Mapping[str, Any] | None = None
    """What was looked at in one that could only be converted here; None where it ran."""
    operating: Mapping[str, Any] | None = None
    differing: Path | None = None
    """The page that shows samples which it decides otherwise."""

    @property
    def sound(self) -> bool:
        """Whether it may be delivered: nothing that was compared speaks against it."""
        return not self.failures

    @property
    def proven(self) -> bool:
        """Whether it ran here and did as the trained model does."""
        return self.sound and self.checked is None

    @property
    def size(self) -> int:
        """In bytes."""
        return size_of(self.path)


def export(
    source: str | Path, wanted: Wanted, *, say: Callable[[str], None] = print
) -> list[Exported]:
    """Each artefact that is wanted, proven or marked."""
    targets = targets_named(wanted.targets)
    if is_package(source):
        raise UserError(
            "a package is made by an export", where=str(source), todo="Give the run it came from."
        )
    if wanted.operate is not None:
        goal_of(wanted.operate)
    trained = open_trained(source, config=wanted.config)
    spec = input_spec_of(trained.stage)
    validation = Validation.of(trained, spec.name)
    try:
        session = Workshop(trained, spec, validation, say, form=wanted.form)
        for target in targets:
            wanted.form.refuse_what_cannot_be(target, session.spec)
        for note in (*validation.notes, *session.spec.notes):
            say(note)
        folder = make_folder(wanted.out or _folder_of(trained))
        done = [
            session.made(target, precision, folder, wanted)
            for precision in dict.fromkeys(wanted.precisions)
            for target in targets
        ]
        for one in done:
            session.planned(one)
            away = one.proof.samples - round(one.proof.agreement * one.proof.samples)
            one.differing = write_differing(one.path, one.proof.differing, away)
        proven = [one.path for one in done if one.proven]
        if wanted.package is not None and proven and all(one.sound for one in done):
            file = wanted.package if wanted.package.name else folder / f"model{PACKAGE_SUFFIX}"
            config = Path(wanted.config) if wanted.config else _run_of(trained) / "config.yaml"
            write_package(file, proven, trained, config)
            done = [replace(one, package=file) if one.proven else one for one in done]
        return done
    finally:
        validation.close()


class Workshop:
    """What all artefacts of the same weights share: the program, captured once.

    `sample` are the batches that 8-bit numbers are calibrated on; without, they are drawn.
    """

    def __init__(
        self,
        trained: Trained,
        spec: InputSpec,
        validation: Validation,
        say: Callable[[str], None],
        sample: Sequence[Tensor] | None = None,
        *,
        form: Form | None = None,
    ) -> None:
        self._say = say
        self._form = form or Form()
        self.sample = sample
        self._doctors: dict[str, Doctor] = {}
        self._known = Known()
        self._measured = Measured()
        self._trained = trained
        self._validation = validation
        self._meters = trained.experiment.meters(trained.stage)
        example = next(iter(validation.batches(trained.device)), None)
        if example is None:
            raise UserError("the evaluation split is empty, so nothing can be proven")
        channels, height, width = shape_of(example, spec.name)
        self.spec = spec.changed(channels=channels).fitted((height, width))
        self._graph = Graph(trained, spec.name, example, top=self._form.top)
        x = example[spec.name][:2]
        self._example = x
        self._planner: Planner | None = None
        self._read = {field for entry in self._meters for field in entry.bind.values()} | {"output"}
        self._programs: dict[str, Program] = {}
        self._rounded = rounded_program(trained, self._graph, x, name=spec.name)
        if self._rounded is None:
            module = self._graph.deployable(trained, x)
            self._programs["fp32"] = captured(module, x, name=spec.name)

    def made(self, target: Target, precision: str, folder: Path, wanted: Wanted) -> Exported:
        """The artefact of one target in one precision."""
        can = target.capabilities
        if precision not in can.precisions:
            raise UserError(
                f"{target.name} has no {precision}",
                where="--precision",
                todo=f"It has {', '.join(can.precisions)}.",
            )
        if self._rounded is not None:
            refuse_other_numbers(self._trained, target, precision)
            return self._proven(target, self._rounded, folder, wanted)
        done = self._proven(target, self._program(target, precision, wanted), folder, wanted)
        if precision != "int8" or not wanted.ladder or rounds_itself(target, wanted.scheme):
            return done
        key = _key(target, precision)
        doctor = self._doctors.get(key)
        if done.sound:
            return done if doctor is None else doctor.noted(done)

        def again(program: Program) -> Exported:
            self._programs[key] = program
            return self._proven(target, program, folder, wanted)

        if doctor is None:
            doctor = self._doctors[key] = self._new_doctor(target, wanted)
        return doctor.treated(done, again)

    def _proven(self, target: Target, whole: Program, folder: Path, wanted: Wanted) -> Exported:
        """The program as the target's file, opened again and compared, or checked for its form."""
        precision, can = whole.precision, target.capabilities
        every = [port.name for port in whole.outputs]
        decodes = self._form.decodes(target)
        names = self._graph.outputs_for(every, self._read, decodes=decodes)
        narrow = whole.narrowed(names, any_batch=can.any_batch)
        program = self._form.formed(narrow, self.spec)
        final = folder / f"model-{precision}{can.suffix}"
        unproven = final.with_name(final.name + UNPROVEN)
        remove_pages(unproven)
        remove_artefact(unproven)
        self._write(target, program, unproven, wanted)
        contract = self._contract(target, program)
        checked = None
        if not can.runs_here:
            checked = cast(CheckingTarget, target).check(program, unproven)
        runner = runner_of(unproven, contract) if checked is None else checked.stand_in
        proof = Proof()
        witness = witness_of(contract, self._meters, wanted.operate)
        if runner is not None:
            told = Decoded(runner, telling_of(contract.reading, final.name))
            split, meters, device = self._validation, self._meters, self._trained.device
            see = None if witness is None else witness.see
            proof = prove(
                *(self._graph, told, contract, split, meters, device), see=see, known=self._known
            )
        limits = Limits(precision, wanted.max_drop)
        if runner is not None:
            limits.insist_on(proof.trained)
        may_drop = limits.allowed(proof)
        alike = precision == "fp32" and program.takes != "picture"
        failures = [f"the output {name} holds NaN" for name in sorted(proof.no_numbers)]
        failures += [*(_decisions(proof) if alike else ()), *limits.failures(proof)]
        failures += [] if checked is None else checked.failures
        point = None
        if witness is not None and checked is None and not failures:
            point = witness.point(contract.classes).told
        path = unproven
        if not failures:
            rename_artefact(unproven, final)
            path = final
        form = None if checked is None else dict(checked.told)
        words: dict[str, Any] = {"proven": not failures and form is None, "ran": form is None}
        words |= {} if form is None else {"checked": form}
        words |= {} if runner is None else {**proof.plain(), "may_drop": may_drop}
        beside = write_contract(path, replace(contract, proof=words, operating=point))
        return Exported(
            *(target.name, precision, path, beside, proof, failures),
            may_drop=may_drop,
            checked=form,
            operating=point,
        )

    def planned(self, done: Exported) -> None:
        """Say in the contract what each layer needs on a device, where that can be planned."""
        if self._planner is None:
            with without_rounding(self._trained):
                self._planner = Planner(self._graph, self._trained, self._example, self._say)
        self._planner.note(done.path, done.precision)

    def _write(self, target: Target, program: Program, path: Path, wanted: Wanted) -> None:
        if program.precision == "int8" and rounds_itself(target, wanted.scheme):
            own = cast(QuantisingTarget, target)
            sample = self._batches(wanted)
            if program.takes != "float":
                given = (self._trained, self.spec, wanted.sample, program.takes)
                sample = list(calibration_sample(*given))
            own.export_quantised(program, sample, wanted.scheme, path)
        else:
            target.export(program, path)

    def _contract(self, target: Target, program: Program) -> Contract:
        classes = self._trained.classes
        return Contract(
            target.name,
            program.precision,
            program.input,
            program.outputs,
            self.spec,
            told_of(self._graph.reading, self._trained.stage),
            None if classes is None else tuple(classes),
            takes=program.takes,
        )

    def _new_doctor(self, target: Target, wanted: Wanted) -> Doctor:
        """Scores what it tries by the same proof, with torch in the place of a runtime."""
        limits = Limits("int8", wanted.max_drop)
        device = self._trained.device

        program = self._programs["fp32"]
        contract = self._contract(target, program)

        def judge(module: nn.Module) -> Score:
            runner = TorchRunner(module, program)
            given = (self._graph, runner, contract, self._validation, self._meters, device)
            return score_of(prove(*given, known=self._known, decisions=False), limits)

        training = self._short_training(wanted.qat) if wanted.qat else None
        ladder = Ladder(program, self._batches(wanted), judge, self._say, self._measured, training)
        return Doctor(ladder, _scheme(target, wanted), limits)

    def _short_training(self, epochs: int) -> ShortTraining:
        name, x, top = self.spec.name, self._example, self._form.top

        def graph_of(trained: Trained) -> Graph:
            return Graph(trained, name, {name: x}, top=top)

        return ShortTraining(self._trained, graph_of, x, name=name, epochs=epochs, say=self._say)

    def _program(self, target: Target, precision: str, wanted: Wanted) -> Program:
        """The program in that precision, made once for all targets that round alike.

        Where the target itself rounds, it is the float one.
        """
        program = self._programs["fp32"]
        if precision != "int8" or rounds_itself(target, wanted.scheme):
            return replace(program, precision=precision)
        key = _key(target, precision)
        if key not in self._programs:
            scheme = _scheme(target, wanted)
            sample = self._batches(wanted)
            self._programs[key] = quantised(program, sample, scheme, self._measured)
        return self._programs[key]

    def _batches(self, wanted: Wanted) -> Sequence[Tensor]:
        """The calibration sample, drawn once."""
        if self.sample is None:
            self.sample = list(calibration_sample(self._trained, self.spec, wanted.sample))
        return self.sample


def _key(target: Target, precision: str) -> str:
    """Targets with the same one share programs."""
    return f"{precision}, symmetric" if target.capabilities.symmetric else precision


def _scheme(target: Target, wanted: Wanted) -> Scheme:
    symmetric = wanted.scheme.symmetric or target.capabilities.symmetric
    return replace(wanted.scheme, symmetric=symmetric)


def _decisions(proof: Proof) -> list[str]:
    """That some are not the trained model's."""
    if proof.agreement == 1.0:
        return []
    away = proof.samples - round(proof.agreement * proof.samples)
    such = ", ".join(proof.disagreeing[:3])
    return [f"{away} of {proof.samples} samples are decided otherwise, such as {such}"]


def _folder_of(trained: Trained) -> Path:
    run = run_of(trained.checkpoint, trained.state)
    return (run.path if run is not None else trained.checkpoint.parent) / "artifacts"


def _run_of(trained: Trained) -> Path:
    """The folder whose config was opened."""
    run = run_of(trained.checkpoint, trained.state)
    return run.path if run is not None else trained.checkpoint.parent.parent
