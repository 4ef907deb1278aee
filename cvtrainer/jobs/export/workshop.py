"""One artefact after the other, of the same weights: written, opened again, compared, judged.

Each is written as `.unproven` and gets its name when nothing that was compared speaks against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from torch import Tensor, nn

from cvtrainer import __version__
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.artefact import (
    digests_of,
    place_artefact,
    remove_artefact,
    rename_artefact,
)
from cvtrainer.deploy.contract import (
    UNPROVEN,
    Contract,
    Port,
    read_contract,
    write_contract,
)
from cvtrainer.deploy.program import Program, captured
from cvtrainer.deploy.quantize.ladder import Ladder, Score
from cvtrainer.deploy.quantize.own_ladder import OwnLadder
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.runtime.decoded import Decoded
from cvtrainer.deploy.runtime.runner import Runner, optimised_runner_of, runner_of
from cvtrainer.deploy.targets.target import (
    CheckingTarget,
    QuantisingTarget,
    Target,
    rounds_itself,
)
from cvtrainer.jobs.export.aware import refuse_other_numbers, rounded_program, without_rounding
from cvtrainer.jobs.export.feed import Feed
from cvtrainer.jobs.export.graph import Graph, told_of
from cvtrainer.jobs.export.known import Known
from cvtrainer.jobs.export.ladder import Doctor, TorchRunner, remove_pages, score_of
from cvtrainer.jobs.export.limits import Limits
from cvtrainer.jobs.export.planning import Planner
from cvtrainer.jobs.export.programs import Programs
from cvtrainer.jobs.export.proof import Proof, prove
from cvtrainer.jobs.export.short_qat import ShortTraining
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.export.wanted import Exported, Wanted
from cvtrainer.jobs.export.witness import Witness, witness_of
from cvtrainer.jobs.load import Trained
from cvtrainer.telling.kinds import telling_of


class Workshop:
    """Artefacts of the same weights, made of one program and proven on one split.

    `sample` are the batches that 8-bit numbers are calibrated on; without, they are drawn.
    """

    def __init__(
        self,
        trained: Trained,
        feed: Feed,
        validation: Validation,
        wanted: Wanted,
        say: Callable[[str], None],
        sample: Sequence[Tensor] | None = None,
    ) -> None:
        self._say = say
        self._wanted = wanted
        self._doctors: dict[bool, Doctor[Program]] = {}
        self._known = Known()
        self._trained = trained
        self._validation = validation
        self._meters = trained.experiment.meters(trained.stage)
        feed = feed.fitted(trained, validation)
        self.spec, name = feed.spec, feed.spec.name
        example = validation.first(trained.device)
        self._graph = Graph(trained, name, example, top=wanted.form.top)
        x = example[name][:2]
        self._example = x
        self._planner: Planner | None = None
        self._read = {field for entry in self._meters for field in entry.bind.values()} | {"output"}
        self._free = feed.free
        rounded = rounded_program(trained, self._graph, x, name=name, free=feed.free)
        self._was_rounded = rounded is not None
        program = rounded or captured(
            self._graph.deployable(trained, x), x, name=name, free=feed.free
        )
        _refuse_outputs_that_grow(program)
        program = replace(program, takes=feed.takes)
        self._programs = Programs(program, trained, feed, wanted, sample)

    @property
    def notes(self) -> list[str]:
        """What who exports should know of the network's outputs."""
        left = self._graph.unread(self._read)
        if not left or self._wanted.form.decode == "host":
            return []
        return [
            f"neither the task nor a meter reads {', '.join(left)}, so graphs that decode leave it "
            "out; --decode host keeps all outputs"
        ]

    @property
    def input(self) -> Port:
        """What graphs take, before anything is put in front of them."""
        return self._programs.captured.input

    @property
    def sample(self) -> Sequence[Tensor] | None:
        """What was drawn for 8-bit numbers, or given."""
        return self._programs.drawn

    def made(self, target: Target, precision: str, folder: Path) -> Exported:
        """The artefact of one target in one precision."""
        if self._was_rounded:
            refuse_other_numbers(self._trained, target, precision, self._wanted.scheme.tool)
            return self._proven(target, self._programs.captured, folder)
        done = self._proven(target, self._programs.of(target, precision), folder)
        if precision != "int8" or not self._wanted.ladder:
            return done
        if rounds_itself(target, self._wanted.scheme):
            return done if done.sound else self._treated_by_itself(target, done, folder)
        key = target.capabilities.symmetric
        doctor = self._doctors.get(key)
        if done.sound:
            return done if doctor is None else doctor.noted(done)

        def again(program: Program) -> Exported:
            self._programs.keep(target, program)
            return self._proven(target, program, folder)

        if doctor is None:
            doctor = self._doctors[key] = self._new_doctor(target)
        return doctor.treated(done, again)

    def _treated_by_itself(self, target: Target, done: Exported, folder: Path) -> Exported:
        """The same with a target that has its own way to round."""
        asked, limits = self._wanted.scheme, Limits("int8", self._wanted.max_drop)
        program = self._programs.of(target, "int8")

        def make(scheme: Scheme) -> tuple[Exported, Score]:
            made = self._proven(target, program, folder, scheme)
            return made, score_of(made.proof, limits)

        doctor = Doctor(OwnLadder(make, self._say), asked, limits)
        return doctor.treated(done, lambda made: made)

    def _proven(
        self, target: Target, whole: Program, folder: Path, scheme: Scheme | None = None
    ) -> Exported:
        """The program as the target's file, opened again and compared, or checked for its form."""
        can = target.capabilities
        every = [port.name for port in whole.outputs]
        decodes = self._wanted.form.decodes(target)
        names = self._graph.outputs_for(every, self._read, decodes=decodes)
        narrow = whole.narrowed(names, any_batch=can.any_batch)
        program = self._wanted.form.formed(narrow, self.spec)
        final = folder / f"model-{whole.precision}{can.suffix}"
        unproven = final.with_name(final.name + UNPROVEN)
        self._write(target, program, unproven, scheme or self._wanted.scheme)
        try:
            return self._judged(target, program, unproven, final)
        except BaseException:  # one that nobody has judged would stand by another's contract
            remove_artefact(unproven)
            raise

    def _judged(self, target: Target, program: Program, unproven: Path, final: Path) -> Exported:
        """What was written, compared; it gets its name if nothing speaks against that."""
        precision, can = program.precision, target.capabilities
        contract = self._contract(target, program)
        checked = None
        if not can.runs_here:
            checked = cast(CheckingTarget, target).check(program, unproven)
        runner = runner_of(unproven, contract) if checked is None else checked.stand_in
        proof = Proof()
        witness = witness_of(contract, self._meters, self._wanted.operate)
        if runner is not None:
            proof = self._compared(runner, contract, final.name, witness)
        limits = Limits(precision, self._wanted.max_drop)
        alike = precision == "fp32" and program.takes != "picture"
        if runner is not None:
            limits.insist_on(proof.trained)
            if not alike:
                limits.insist_on_one(proof)
        may_drop = limits.allowed(proof)
        failures = proof.failures(alike=alike, judged=bool(may_drop)) + limits.failures(proof)
        failures += [] if checked is None else checked.failures
        point = None
        if witness is not None and checked is None and not failures:
            point = witness.point(contract.classes).told
        form = None if checked is None else dict(checked.told)
        words: dict[str, Any] = {"proven": not failures and form is None, "ran": form is None}
        words |= {} if form is None else {"checked": form}
        words |= {} if runner is None else {**proof.plain(), "may_drop": may_drop}
        remove_artefact(final)  # of an earlier export; what its contract said is about to go
        files = digests_of(unproven)
        beside = write_contract(
            unproven, replace(contract, proof=words, operating=point, files=files)
        )
        path = unproven
        if not failures:
            path = rename_artefact(unproven, final)
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

    def run_unasked(self, done: Exported) -> None:
        """Compare an artefact also as its runtime opens it without being asked to compute what is
        written, and say in the contract what that gives; nobody is judged by it."""
        if not done.proven:
            return
        contract = read_contract(done.path)
        runner = optimised_runner_of(done.path, contract)
        if runner is None:
            return
        done.optimised = self._compared(runner, contract, done.path.name)
        told = done.optimised.plain()
        kept = {word: told[word] for word in ("agreement", "largest_difference", "artefact")}
        write_contract(done.path, replace(contract, proof={**contract.proof, "optimised": kept}))

    def _compared(
        self, runner: Runner, contract: Contract, name: str, witness: Witness | None = None
    ) -> Proof:
        told = Decoded(runner, telling_of(contract.reading, name))
        return prove(
            *(self._graph, told, contract, self._validation, self._meters, self._trained.device),
            see=None if witness is None else witness.see,
            known=self._known,
        )

    def _write(self, target: Target, program: Program, path: Path, scheme: Scheme) -> None:
        """Made elsewhere first: converters do not say why they could not write."""
        trained = self._was_rounded
        with TemporaryDirectory(prefix="cvtrainer-") as place:
            made = Path(place) / path.name
            if program.precision == "int8" and not trained and rounds_itself(target, scheme):
                own = cast(QuantisingTarget, target)
                own.export_quantised(program, self._programs.sample(program.takes), scheme, made)
            else:
                target.export(program, made)
            remove_pages(path)
            remove_artefact(path)
            place_artefact(made, path)

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
            made=self._origin(program.precision),
        )

    def _origin(self, precision: str) -> dict[str, Any]:
        """Of what an artefact is made."""
        trained = self._trained
        clock = trained.state.get("clock") or {}
        told = {
            "by": f"cvtrainer {__version__}",
            "checkpoint": trained.checkpoint.name,
            "stage": trained.stage["name"],
            **{word: clock[word] for word in ("epoch", "step") if word in clock},
        }
        if precision == "int8" and not self._was_rounded:
            drawn = sum(len(rows) for rows in self._programs.drawn or ())
            sample = drawn or self._wanted.sample  # there may be fewer than were asked for
            told |= {"calibrator": self._wanted.scheme.method, "sample": sample}
        return told

    def _new_doctor(self, target: Target) -> Doctor[Program]:
        """Scores what it tries by the same proof, with torch in the place of a runtime."""
        limits = Limits("int8", self._wanted.max_drop)
        device, programs = self._trained.device, self._programs
        contract = self._contract(target, programs.captured)

        def judge(module: nn.Module) -> Score:
            runner = TorchRunner(module, programs.captured)
            given = (self._graph, runner, contract, self._validation, self._meters, device)
            return score_of(prove(*given, known=self._known, decisions=False), limits)

        training = self._short_training(self._wanted.qat) if self._wanted.qat else None
        made = (programs.captured, programs.sample(), judge, self._say, programs.measured)
        return Doctor(Ladder(*made, training), programs.scheme(target), limits)

    def _short_training(self, epochs: int) -> ShortTraining:
        name, x, top = self.spec.name, self._example, self._wanted.form.top

        def graph_of(trained: Trained) -> Graph:
            return Graph(trained, name, {name: x}, top=top)

        words: dict[str, Any] = {"name": name, "free": self._free, "epochs": epochs}
        return ShortTraining(self._trained, graph_of, x, say=self._say, **words)


def _refuse_outputs_that_grow(program: Program) -> None:
    """Those of batches are filled as their inputs are, and nobody compares what is not there."""
    for port in program.outputs:
        if None in port.shape[1:]:
            raise UserError(
                f"the output {port.name} is as long as its input, and lengths differ from sample "
                "to sample; such outputs cannot be compared",
                todo="Give all samples one length: a tensorizer with `length` or `seconds`.",
            )
