"""The split that measures a stage: its batches as training evaluated them, and its data set.

What an artefact says is measured with the labels of the very batch that the trained model got; what
it is fed with is a feed's business. Training samples, for calibration, come the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import evaluation_block
from cvtrainer.data.pipeline import Dataset
from cvtrainer.data.splits.subset import Subset
from cvtrainer.ddp.world import World
from cvtrainer.engine.prepare import to_device
from cvtrainer.experiment import Surroundings
from cvtrainer.jobs.export.stratified import stratified
from cvtrainer.jobs.load import Trained
from cvtrainer.protocols import Batch, Stream

_PHASES = ("val", "test")


@dataclass
class Validation:
    """`whole` is how many samples the split has, where only some of them are looked at."""

    phase: str
    stream: Stream
    dataset: Dataset
    notes: list[str]
    whole: int | None = None
    _first: Batch | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, trained: Trained, *, split: str | None = None, subset: int | None = None
    ) -> Validation:
        """Of the split that the stage evaluates on, or of that one; `subset` is so many samples of
        it, each class in its proportion and the same every time."""
        stage = trained.stage
        loaders = stage.get("dataloader") or {}
        block = evaluation_block(stage) if split is None else loaders.get(split)
        if block is None or split == "train":
            raise UserError(
                f"artefacts are not measured on {split}",
                where=f"stages.{stage['name']}.dataloader",
                todo=f"There is {', '.join(one for one in _PHASES if loaders.get(one)) or 'none'}.",
            )
        phase = next(one for one in _PHASES if loaders.get(one) is block)
        notes: list[str] = []
        around = _around(trained, phase, notes)
        data = trained.experiment.data
        dataset = data.dataset(block, phase, trained.classes)
        _refuse_in_order(dataset, f"stages.{stage['name']}.dataloader.{phase}.dataset")
        length = len(dataset)
        labels = getattr(dataset, "labels", None)
        numbers = np.sort(stratified(labels, length, length if subset is None else subset))

        # Also of all samples: a part numbers them itself, whatever a data set of one's own says.
        def part(every: Any) -> Dataset:
            return Subset(every, numbers)

        stream = data.stream(block, phase, around, part)
        samples: int = getattr(stream, "samples", len(numbers))
        whole = length if samples < length else None
        return cls(phase, stream, part(dataset), notes, whole)

    @classmethod
    def of_training(cls, trained: Trained, count: int) -> Validation:
        """So many training samples, each class in its share, prepared as evaluation does it."""
        train, block = training_block(trained), evaluation_block(trained.stage)
        assert block is not None
        data, notes = trained.experiment.data, list[str]()
        dataset = data.dataset(train, "train", trained.classes)
        numbers = stratified(getattr(dataset, "labels", None), len(dataset), count)
        part = Subset(dataset, numbers)
        same = {**block, "dataset": train["dataset"], "split": None, "sampler": None, "cache": None}
        around = _around(trained, "val", notes)
        return cls("train", data.stream(same, "val", around, lambda _: part), part, notes)

    def batches(self, device: Any) -> Iterator[Batch]:
        """Every sample once, on the device and after the split's device steps."""
        for batch in self.stream.epoch(1):
            finish = getattr(self.stream, "finish", None)
            _refuse_nameless(batch)
            moved = to_device(batch, device)
            yield moved if finish is None else finish(moved)

    def first(self, device: Any) -> Batch:
        """The first batch, made once."""
        if self._first is None:
            self._first = next(iter(self.batches(device)), None)
        if self._first is None:
            raise UserError(f"the split {self.phase} is empty, so nothing can be proven")
        return self._first

    def names(self, batch: Batch) -> list[str]:
        """How messages call its samples."""
        return [str(name) for name in batch["meta"]["path"]]

    def close(self) -> None:
        """Ends what reads ahead."""
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()


def _refuse_in_order(dataset: Dataset, where: str) -> None:
    if not hasattr(dataset, "__len__"):
        raise UserError(
            "these archives are read in order, and an artefact is fed with samples by number",
            where=where,
            todo="Unpack them to plain .tar files, or evaluate on pictures in folders.",
        )


def _refuse_nameless(batch: Batch) -> None:
    """Without numbers nobody knows which files belong to a batch."""
    meta = batch.get("meta")
    if not isinstance(meta, Mapping) or not {"index", "path"} <= meta.keys():
        raise UserError(
            "batches do not say which samples they hold",
            where="dataloader_args.collate_fn",
            todo="Let it keep meta: a mapping of lists, among them index and path.",
        )


def training_block(trained: Trained) -> Mapping[str, Any]:
    """What says which samples trained the stage."""
    found: Mapping[str, Any] | None = (trained.stage.get("dataloader") or {}).get("train")
    if not found:
        raise UserError(
            "8-bit numbers are calibrated on training data, and there is none",
            where=f"stages.{trained.stage['name']}.dataloader",
            todo="Give the train split.",
        )
    return found


def _around(trained: Trained, phase: str, notes: list[str]) -> Surroundings:
    return Surroundings(
        run=None,
        world=World(),
        seed=0,
        device=str(trained.device),
        classes=trained.classes,
        learnt=trained.state.get("learnt"),
        phases=(phase,),
        say=notes.append,
    )
