"""The trained model and its artefact on the whole evaluation split, from the bytes of files.

The trained model gets the pipeline's batches, the artefact what its contract makes of the same
files. Compared are outputs, decisions and the stage's own meters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.runtime.runner import Arrays, Runner
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.export.validation import Validation, picture_inputs
from cvtrainer.protocols import Batch, UpdateResult

_KEPT = 20
_MAP_SHARE = 0.999
"""Maps of decisions agree where so many of their places do."""


@dataclass
class Proof:
    """`agreement` is the share of samples with the same decisions; `away` the largest difference of
    each output; metrics are `trained` and `artefact`."""

    samples: int = 0
    agreement: float = 1.0
    away: dict[str, float] = field(default_factory=dict)
    trained: dict[str, float] = field(default_factory=dict)
    artefact: dict[str, float] = field(default_factory=dict)
    worse: dict[str, float] = field(default_factory=dict)
    """By how much each metric of the artefact is worse; less than 0 is better."""
    disagreeing: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For the contract."""
        return {
            "samples": self.samples,
            "agreement": self.agreement,
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
) -> Proof:
    """Run both over the split."""
    names = [port.name for port in contract.outputs]
    entries = [entry for entry in meters if _measurable(entry)]
    mine, theirs = (Recorder(entries, validation.phase) for _ in range(2))
    proof, agreed = Proof(), 0
    with torch.no_grad():
        for batch in validation.batches(device):
            trained = {name: graph.compute(batch[validation.name])[name] for name in names}
            made = runner(inputs_of(validation.files(batch), validation.names(batch), contract))
            _record(mine, batch, trained)
            _record(theirs, batch, {name: torch.from_numpy(value) for name, value in made.items()})
            same = _agreeing(
                {name: one.cpu().numpy() for name, one in trained.items()}, made, proof
            )
            agreed += int(same.sum())
            proof.samples += len(same)
            for label, fits in zip(validation.names(batch), same, strict=True):
                if not fits and len(proof.disagreeing) < _KEPT:
                    proof.disagreeing.append(label)
    proof.agreement = agreed / max(1, proof.samples)
    proof.trained, proof.artefact = mine.compute(), theirs.compute()
    for name, value in proof.trained.items():
        sign = 1 if mine.higher_is_better(name) else -1
        proof.worse[name] = sign * (value - proof.artefact[name])
    return proof


def inputs_of(files: list[bytes], names: list[str], contract: Contract) -> NDArray[Any]:
    """A batch for the artefact, by nothing but its contract."""
    rows = zip(files, names, strict=True)
    return np.stack([picture_inputs(data, name, contract.spec) for data, name in rows])


def _measurable(entry: MeterEntry) -> bool:
    """Whether it looks at outputs; an artefact has no loss."""
    words = set(entry.bind.values())
    produces = getattr(entry.meter, "PRODUCES", ())
    return not words & {"loss", "losses"} and not any(
        str(one).startswith("loss") for one in produces
    )


def _record(recorder: Recorder, batch: Batch, outputs: Mapping[str, Tensor]) -> None:
    recorder.record(batch, UpdateResult(torch.zeros(()), {}, dict(outputs)))


def _agreeing(trained: Arrays, made: Arrays, proof: Proof) -> NDArray[np.bool_]:
    """Which samples are decided alike; differences of numbers go into the proof."""
    count = len(next(iter(trained.values())))
    same = np.ones(count, bool)
    for name, value in trained.items():
        other = made[name]
        if value.dtype.kind == "f":
            away = float(np.abs(value - other).max(initial=0.0))
            proof.away[name] = max(proof.away.get(name, 0.0), away)
        else:
            equal = (value == other).reshape(count, -1)
            share = equal.mean(axis=1) if equal.shape[1] else np.ones(count)
            same &= share >= (_MAP_SHARE if value.ndim > 2 else 1.0)
    return same
