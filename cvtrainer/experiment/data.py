"""The data of a stage: from the blocks of its splits to streams.

Training comes first, because what it finds binds the others: the class map, and what a tensorizer
learnt from the training samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cvtrainer.data.bad_samples import Ledger, Quarantine
from cvtrainer.data.decode import Decoding
from cvtrainer.data.device_steps import DeviceSteps
from cvtrainer.data.opening import FilePixels, PixelSource
from cvtrainer.data.pipeline import Dataset, Parts
from cvtrainer.data.splits import Split
from cvtrainer.data.stream import LoaderOptions, LoaderStream
from cvtrainer.data.transforms import Transforms
from cvtrainer.experiment.building import Builder
from cvtrainer.experiment.surroundings import Surroundings

Block = Mapping[str, Any]
"""What a config says of one split."""


class Data:
    """Builds the parts of splits."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._build = builder.build

    def streams(self, stage: Mapping[str, Any], around: Surroundings) -> dict[str, LoaderStream]:
        """A stream per split that the stage has and the job asks for."""
        streams: dict[str, LoaderStream] = {}
        for phase in around.phases:
            block = (stage.get("dataloader") or {}).get(phase)
            if block:
                streams[phase] = self.stream(block, phase, around)
        return streams

    def stream(self, block: Block, phase: str, around: Surroundings) -> LoaderStream:
        """The stream of one split; what it finds goes into `around`."""
        dataset = self.dataset(block, phase, around.classes)
        if around.classes is None:
            names = getattr(dataset, "classes", None)
            around.classes = None if names is None else [str(name) for name in names]
        for line in getattr(dataset, "evidence", ()):
            around.say(f"{phase}: {line}")
        return LoaderStream(
            Parts(
                dataset,
                pixels=self.pixels(block),
                transforms=self.transforms(block),
                tensorizer=self._tensorizer(block, dataset, around),
                mixers=tuple(self._build(node) for node in block.get("mixers") or ()),
            ),
            seed=around.seed,
            options=self._options(block.get("dataloader_args") or {}),
            training=phase == "train",
            sampler=self._build(block["sampler"]) if block.get("sampler") else None,
            device_steps=self.device_steps(block),
            ledger=self._ledger(block, phase, len(dataset), around),
            say=around.say,
        )

    def dataset(self, block: Block, phase: str, classes: Sequence[str] | None = None) -> Dataset:
        """The split's data set, or the part of it that the split asks for."""
        node = block["dataset"]
        given: dict[str, Any] = {}
        if classes is not None and self._builder.takes(node, "classes"):
            given["classes"] = list(classes)
        dataset: Dataset = self._build(node, **given)
        division = block.get("split")
        if not division:
            return dataset
        part = {"part": phase} if self._builder.takes(division, "part") else {}
        split: Split = self._build(division, **part)
        return split.of(dataset)

    def pixels(self, block: Block) -> PixelSource:
        """Where the split's pictures come from: files, or a cache before them."""
        decoding = self.decoding(block)
        if not block.get("cache"):
            return FilePixels(decoding)
        source: PixelSource = self._build(block["cache"], decoding=decoding)
        return source

    def decoding(self, block: Block) -> Decoding:
        """How the split's files are read."""
        found: Decoding = self._build(block["decode"]) if block.get("decode") else Decoding()
        return found

    def transforms(self, block: Block) -> Transforms | None:
        """The split's transforms; names belong to the back end, import paths are built here."""
        written = block.get("transforms")
        if not written:
            return None
        items = [
            self._build(node) if _is_import_path(node["type"]) else node
            for node in written["transforms"] or ()
        ]
        return Transforms(written["backend"], items)

    def device_steps(self, block: Block) -> DeviceSteps | None:
        """What is done to the split's batches on the device; None: nothing."""
        nodes = block.get("device_steps")
        return DeviceSteps([self._build(node) for node in nodes]) if nodes else None

    def _tensorizer(self, block: Block, dataset: Dataset, around: Surroundings) -> Any:
        """The split's tensorizer; what one learns from training holds for all."""
        node = block.get("tensorizer")
        if not node:
            return None
        tensorizer = self._build(node)
        if not hasattr(tensorizer, "learn"):
            return tensorizer
        if around.learnt is None:
            tensorizer.learn(dataset)
            around.learnt = tensorizer.state_dict()
        else:
            tensorizer.load_state_dict(around.learnt)
        return tensorizer

    def _options(self, words: Mapping[str, Any]) -> LoaderOptions:
        chosen = words.get("collate_fn")
        if isinstance(chosen, str):
            words = {**words, "collate_fn": self._builder.target(chosen)}
        return LoaderOptions.from_mapping(words)

    def _ledger(self, block: Block, phase: str, length: int, around: Surroundings) -> Ledger:
        """Where bad samples are written: in the run, and for the next runs of its project."""
        run = around.run
        return Ledger(
            run.path / "bad_samples.jsonl" if run else None,
            split=phase,
            length=length,
            max_bad=block["max_bad"],
            quarantine=Quarantine(run.quarantine, rules=self.decoding(block).key())
            if run
            else None,
            say=around.say,
        )


def _is_import_path(name: str) -> bool:
    """Whether a transform is the user's own class rather than a name the back end knows."""
    library = name.partition(".")[0]
    return ("." in name or ":" in name) and library not in ("albumentations", "torchvision")
