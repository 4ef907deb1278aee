"""Weights under training as an artefact: exported, quantised, opened and measured.

All of it happens on a copy of the networks, on the CPU, with data streams of its own, so that
training does not notice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.input_of_stage import input_of
from cvtrainer.core.metric_names import find_metric
from cvtrainer.deploy.artefact import remove_artefact, rename_artefact
from cvtrainer.deploy.contract import UNPROVEN, read_contract, write_contract
from cvtrainer.deploy.planner.limits import check_block
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import target_named
from cvtrainer.experiment import Experiment
from cvtrainer.experiment.aware import round_as_saved
from cvtrainer.jobs.export.aware import without_rounding
from cvtrainer.jobs.export.feed import feed_of
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.export.wanted import Exported
from cvtrainer.jobs.export.workshop import Workshop
from cvtrainer.jobs.gate.block import Block
from cvtrainer.jobs.load import Trained
from cvtrainer.protocols import State

_FEW = 8
"""Samples of the split that are enough to see whether a network can become an artefact."""

_RUNS = 30
_MOST_S = 1.0


@dataclass
class Verdict:
    """What became of the weights at one place of a run; `metric` is what the best is judged by."""

    metric: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    trained: dict[str, float] = field(default_factory=dict)
    agreement: float = 0.0
    samples: int = 0
    whole: int | None = None
    worst_drop: float = math.inf
    size_bytes: int = 0
    latency_ms: float | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def value(self) -> float:
        """Of the metric that the best is judged by."""
        return self.metrics[self.metric]

    @property
    def passes(self) -> bool:
        """Whether it may become the best."""
        return not self.failures


class Examiner:
    """Makes artefacts of one stage in one form; a `judge` is a metric's name as people write it."""

    def __init__(
        self, stage: Mapping[str, Any], experiment: Experiment, facts: State, block: Block
    ) -> None:
        self._block = block
        self._target = target_named(block.target)
        self._feed = feed_of(input_of(stage))
        task: Any = experiment.task(stage)
        for network in task.networks.values():
            network.cpu().eval()
        state = {**facts, "stage": stage["name"]}
        self._trained = Trained(task, stage, experiment, state, Path(), torch.device("cpu"))
        self._validation = Validation.of(self._trained, subset=block.subset)
        self._sample: Sequence[Tensor] | None = None
        self._rounded = False

    def take(self, networks: Mapping[str, nn.Module]) -> None:
        """Copy the weights as they are now; the copy rounds where training does."""
        if not self._rounded:
            state = {"networks": {name: one.state_dict() for name, one in networks.items()}}
            stage = self._trained.stage
            round_as_saved(self._trained.task, stage, state, source=str(stage["name"]))
            self._rounded = True
        for name, own in self._trained.task.networks.items():
            try:
                own.load_state_dict(networks[name].state_dict())
            except RuntimeError as error:
                raise UserError(
                    "the network under training has other weights than the one that its config "
                    f"describes ({str(error).splitlines()[0]})",
                    where=f"stages.{self._trained.stage['name']}.deploy",
                    todo="Leave out the hook that changes it, or the deploy block.",
                ) from error

    def refuse_early(self, folder: Path, judge: str | None) -> None:
        """Before training: an artefact that cannot be, or cannot keep its limits, is an error.

        The weights are the first ones; only what does not depend on them is looked at.
        """
        where = f"stages.{self._trained.stage['name']}.deploy"
        inputs = self._inputs()
        with without_rounding(self._trained):
            findings = check_block(*inputs, block=vars(self._block))
        few = Validation.of(self._trained, subset=_FEW)
        try:
            made = self._made(folder, few)
        finally:
            few.close()
        verdict = self._verdict(made, judge)
        remove_artefact(folder)
        size, latency = verdict.size_bytes, verdict.latency_ms
        words = [*map(str, findings), *self._block.too_much(size, latency)]
        if words:
            raise UserError(
                f"no training can keep this limit: {'; '.join(words)}",
                where=where,
                todo="Make the network or its input smaller (cvtrainer model fit says how much).",
            )

    def examined(self, folder: Path, judge: str | None, place: Mapping[str, Any]) -> Verdict:
        """The artefact of the weights that were taken, in that folder; `place` is told in it.

        Weights that cannot become one (no numbers, say) do not pass; training goes on.
        """
        try:
            made = self._made(folder, self._validation)
        except UserError as error:
            return Verdict(failures=[error.what])
        verdict = self._verdict(made, judge)
        path = made.path
        if made.proven and verdict.failures:
            path = path.with_name(path.name + UNPROVEN)
            rename_artefact(made.path, path)
        contract = read_contract(path)
        told = {**place, "limits": self._block.limits, "passes": verdict.passes}
        proof = {**contract.proof, "proven": verdict.passes, "gate": told}
        write_contract(path, replace(contract, proof=proof))
        return verdict

    def close(self) -> None:
        """Ends what reads ahead."""
        self._validation.close()

    def _made(self, folder: Path, validation: Validation) -> Exported:
        remove_artefact(folder)
        given = (self._trained, self._feed, validation, self._block.wanted)
        shop = Workshop(*given, _say_nothing, self._sample)
        made = shop.made(self._target, self._block.precision, make_folder(folder))
        self._sample = shop.sample
        return made

    def _verdict(self, made: Exported, judge: str | None) -> Verdict:
        proof, latency = made.proof, None
        if self._block.max_latency_ms is not None:
            latency = _latency_ms(made.path)
        return Verdict(
            metric=_judged(judge, proof.artefact),
            metrics=dict(proof.artefact),
            trained=dict(proof.trained),
            agreement=proof.agreement,
            samples=proof.samples,
            whole=proof.whole,
            worst_drop=max((proof.worse[name] for name in made.may_drop), default=0.0),
            size_bytes=made.size,
            latency_ms=latency,
            failures=[*made.failures, *self._block.too_much(made.size, latency)],
        )

    def _inputs(self) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        """The network, and what the task gives it for one sample."""
        caught: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append((args, kwargs))

        network = self._trained.network
        name = self._feed.fitted(self._trained, self._validation).spec.name
        batch = self._validation.first(self._trained.device)
        hook = network.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with torch.no_grad(), suppress(AttributeError):  # who does not predict is told later
                self._trained.task.predict({name: batch[name][:1]})
        finally:
            hook.remove()
        return (network, *caught[0]) if caught else (network, (batch[name][:1],), {})


def _judged(asked: str | None, measured: Mapping[str, float]) -> str:
    """The meter's name that is meant; without a word accuracy, else the first."""
    if not measured:
        raise UserError("no meter looks at outputs, so no artefact can be judged", where="meters")
    names = {f"val/{name}": name for name in measured}
    if asked is None:
        return "accuracy" if "accuracy" in measured else next(iter(measured))
    found = find_metric(asked, names)
    if found is None:
        raise UserError(
            f"an artefact has no {asked}",
            where="hooks.checkpoint.metric_name",
            todo=f"It has {', '.join(names)}.",
        )
    return names[found]


def _latency_ms(artefact: Path) -> float:
    """The median time of one input on this host, one thread."""
    contract = read_contract(artefact)
    run = runner_of(artefact, contract)
    nothing = np.zeros((1, *contract.example_shape(1)), contract.input.dtype)
    run(nothing)
    taken: list[float] = []
    while len(taken) < _RUNS and sum(taken) < _MOST_S:
        began = perf_counter()
        run(nothing)
        taken.append(perf_counter() - began)
    return median(taken) * 1000


def _say_nothing(text: str) -> None:
    """The gate has a line of its own."""
