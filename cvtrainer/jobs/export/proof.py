"""The trained model and its artefact on the whole evaluation split, from the bytes of files.

The trained model gets the pipeline's batches, the artefact what its contract makes of the same
files, or the same arrays where it takes arrays. Compared are outputs, decisions and the stage's
own meters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.runtime.runner import Runner, outputs_of
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.jobs.export.decisions import likeness
from cvtrainer.jobs.export.differing import Differing
from cvtrainer.jobs.export.feed import feed_of
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.export.known import Known
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.protocols import Batch, Outputs, UpdateResult

_KEPT = 20
_LISTS = "found_"
"""Begins the names of outputs that list what was found, best first."""


@dataclass
class Proof:
    """`agreement` is the share of samples with the same decisions, `likeness` that of places and
    objects in them; `away` the largest difference of each output; metrics are `trained` and
    `artefact`."""

    samples: int = 0
    source: str = ""
    """Where the artefact's inputs came from, in words."""
    whole: int | None = None
    """How many there are, where these are only some."""
    stand_ins: int = 0
    """So many of them stand in the places of others that could not be read."""
    silent: int = 0
    """In so many of them neither found anything."""
    agreement: float = 1.0
    likeness: float = 1.0
    away: dict[str, float] = field(default_factory=dict)
    trained: dict[str, float] = field(default_factory=dict)
    artefact: dict[str, float] = field(default_factory=dict)
    worse: dict[str, float] = field(default_factory=dict)
    """By how much each metric of the artefact is worse; less than 0 is better."""
    falling: set[str] = field(default_factory=set)
    """The metrics of which less is better."""
    no_numbers: set[str] = field(default_factory=set)
    """Outputs in which somebody gave NaN: nothing can be said of them."""
    disagreeing: list[str] = field(default_factory=list)
    differing: list[Differing] = field(default_factory=list)
    """The same samples, to be looked at."""

    def failures(self, *, alike: bool, judged: bool = True) -> list[str]:
        """What speaks against it beside metrics; `alike` asks for the same decisions throughout,
        `judged` says whether there is a metric besides."""
        found = [f"the output {name} holds NaN" for name in sorted(self.no_numbers)]
        if not judged and self.silent == self.samples > 0:
            found.append("neither found anything in any sample, so nothing was compared")
        if alike and self.agreement < 1.0:
            away = self.samples - round(self.agreement * self.samples)
            such = ", ".join(self.disagreeing[:3])
            found.append(f"{away} of {self.samples} samples are decided otherwise, such as {such}")
        return found

    def plain(self) -> dict[str, Any]:
        """For the contract."""
        return {
            "samples": self.samples,
            "fed": self.source,
            **({} if self.whole is None else {"of": self.whole}),
            **({"stand_ins": self.stand_ins} if self.stand_ins else {}),
            "agreement": self.agreement,
            "likeness": self.likeness,
            "largest_difference": self.away,
            "trained": self.trained,
            "artefact": self.artefact,
        }


def prove(
    graph: Graph,
    runner: Runner,
    contract: Contract,
    validation: Validation,
    meters: Iterable[MeterEntry],
    device: torch.device,
    *,
    see: Callable[[Batch, Outputs], None] | None = None,
    known: Known | None = None,
    decisions: bool = True,
) -> Proof:
    """Run both over the split; `see` gets each batch with the artefact's outputs. What is `known`
    of an earlier proof is not computed again; without `decisions` metrics alone are compared."""
    entries = [entry for entry in meters if _measurable(entry)]
    mine, theirs = (Recorder(entries, validation.phase) for _ in range(2))
    feed, agreed, shares, told = feed_of(contract.spec), 0, 0.0, frozenset[str]()
    proof = Proof(source=feed.source, whole=validation.whole)
    known, numbers = known or Known(), set[int]()
    with torch.no_grad():
        for seen in known.batches(graph, validation, contract, device):
            given = outputs_of(runner, seen.rows)
            made = graph.completed({name: torch.from_numpy(one) for name, one in given.items()})
            trained = {name: value for name, value in seen.outputs.items() if name in made}
            told = frozenset(trained)
            if told not in known.metrics:
                _record(mine, seen.batch, trained)
            _record(theirs, seen.batch, made)
            proof.samples += len(seen.names)
            numbers.update(int(one) for one in seen.batch["meta"]["index"])
            if see is not None:
                see(seen.batch, made)
            if not decisions:
                continue
            _measure(trained, made, proof)
            for place, label in enumerate(seen.names):
                found = likeness(graph.reading, trained, made, place, contract.classes)
                shares += found.share
                proof.silent += found.silent
                if found.alike:
                    agreed += 1
                elif len(proof.disagreeing) < _KEPT:
                    proof.disagreeing.append(label)
                    both = (trained, made)
                    sample = (label, feed.pixels(validation, seen.batch, place))
                    one = Differing.of(sample, graph.reading, both, place, contract.classes)
                    proof.differing.append(one)
    proof.stand_ins = proof.samples - len(numbers)
    count = max(1, proof.samples) if decisions else math.nan
    proof.agreement, proof.likeness = agreed / count, shares / count
    proof.trained = dict(known.metrics.setdefault(told, mine.compute()))
    proof.artefact = theirs.compute()
    for name, value in proof.trained.items():
        higher = theirs.higher_is_better(name)
        proof.worse[name] = (value - proof.artefact[name]) * (1 if higher else -1)
        if not higher:
            proof.falling.add(name)
    return proof


def _measurable(entry: MeterEntry) -> bool:
    """Whether it looks at outputs; an artefact has no loss."""
    words = set(entry.bind.values())
    produces = getattr(entry.meter, "PRODUCES", ())
    return not words & {"loss", "losses"} and not any(
        str(one).startswith("loss") for one in produces
    )


def _record(recorder: Recorder, batch: Batch, outputs: Mapping[str, Tensor]) -> None:
    recorder.record(batch, UpdateResult(torch.zeros(()), {}, dict(outputs)))


def _measure(trained: Outputs, made: Outputs, proof: Proof) -> None:
    """The largest difference of each output; lists of what was found have no fixed places."""
    for name, value in trained.items():
        if value.is_floating_point() and not name.startswith(_LISTS):
            if value.isnan().any() or made[name].isnan().any():
                proof.no_numbers.add(name)
            away = float((value.cpu() - made[name]).abs().max()) if value.numel() else 0.0
            proof.away[name] = max(proof.away.get(name, 0.0), away)
