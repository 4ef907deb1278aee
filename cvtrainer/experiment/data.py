"""The data of a stage: from the blocks of its splits to streams.

Training comes first, because what it finds binds the others: the class map, and what a tensorizer
learnt from the training samples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.bad_samples import Ledger, Quarantine
from cvtrainer.data.collate import Collate, collate
from cvtrainer.data.datasets.tar_source import TarSource
from cvtrainer.data.decode import Decoding
from cvtrainer.data.detection import TYPES, Candidate
from cvtrainer.data.device_steps import DeviceSteps
from cvtrainer.data.opening import FilePixels, PixelSource
from cvtrainer.data.pipeline import Dataset, Parts
from cvtrainer.data.splits import Split
from cvtrainer.data.stream import LoaderOptions, LoaderStream
from cvtrainer.data.tar_stream import TarStream
from cvtrainer.data.transforms import Transforms
from cvtrainer.experiment.building import Builder, Node
from cvtrainer.experiment.surroundings import Surroundings
from cvtrainer.protocols import Stream

Block = Mapping[str, Any]
"""What a config says of one split."""


class Data:
    """Builds the parts of splits."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._build = builder.build

    def streams(self, stage: Mapping[str, Any], around: Surroundings) -> dict[str, Stream]:
        """A stream per split that the stage has and the job asks for."""
        streams: dict[str, Stream] = {}
        for phase in around.phases:
            block = (stage.get("dataloader") or {}).get(phase)
            if block:
                streams[phase] = self.stream(block, phase, around)
        return streams

    def stream(
        self,
        block: Block,
        phase: str,
        around: Surroundings,
        chosen: Callable[[Dataset], Dataset] | None = None,
    ) -> Stream:
        """The stream of one split; what it finds goes into `around`.

        With `chosen`, the stream is of the part that it makes of the split's data set.
        """
        dataset = self.dataset(block, phase, around.classes, say=around.say)
        dataset = dataset if chosen is None else chosen(dataset)
        if around.classes is None:
            names = getattr(dataset, "classes", None)
            around.classes = None if names is None else [str(name) for name in names]
        options = self._options(block.get("dataloader_args") or {})
        if isinstance(dataset, TarSource):
            return self._in_order(dataset, block, phase, around)
        tensorizer = self._tensorizer(block, dataset, phase, around)
        return LoaderStream(
            Parts(
                dataset,
                pixels=self.pixels(block),
                transforms=self.transforms(block),
                tensorizer=tensorizer,
                mixers=tuple(self._build(node) for node in block.get("mixers") or ()),
                collate=options.collate_fn or _collate_for(tensorizer),
            ),
            seed=around.seed,
            options=options,
            training=phase == "train",
            sampler=self._build(block["sampler"]) if block.get("sampler") else None,
            device_steps=self.device_steps(block),
            ledger=self._ledger(block, phase, len(dataset), around),
            say=lambda text: around.say(f"{phase}: {text}"),
        )

    def _in_order(
        self, source: TarSource, block: Block, phase: str, around: Surroundings
    ) -> TarStream:
        """Archives that can only be read from front to back; what needs any sample is refused."""
        for word in ("split", "sampler", "decode", "cache", "mixers", "device_steps"):
            if block.get(word):
                raise UserError(
                    f"{word} needs samples by number, and these archives are read in order",
                    where=f"dataloader.{phase}.{word}",
                    todo="Unpack the archives to plain .tar files, or leave it out.",
                )
        words = self._options(block.get("dataloader_args") or {})
        return TarStream(
            source,
            batch_size=words.batch_size,
            seed=around.seed,
            shuffle_buffer=source.shuffle_buffer if words.shuffle else 0,
            transforms=self.transforms(block),
            tensorizer=self._tensorizer(block, source, phase, around),
            training=phase == "train",
            ledger=self._ledger(block, phase, sum(source.counts), around),
        )

    def dataset(
        self,
        block: Block,
        phase: str,
        classes: Sequence[str] | None = None,
        *,
        say: Callable[[str], None] | None = None,
    ) -> Dataset:
        """The split's data set, or the part of it that the split asks for."""
        dataset: Any = self._whole(block["dataset"], classes)
        if isinstance(dataset, Candidate):
            if say is not None:
                reason = dataset.evidence[0]
                say(f"{phase}: {dataset.data_path} is read as {dataset.type}: {reason}")
            node = {**dataset.node, "type": TYPES[dataset.type]}
            dataset = self._whole(node, classes)
        if say is not None:
            for line in getattr(dataset, "evidence", ()):
                say(f"{phase}: {line}")
        return self._part(dataset, block.get("split"), phase)

    def _part(self, dataset: Dataset, division: Node | None, phase: str) -> Dataset:
        """What the split's `split` asks for: by default the part named like the phase."""
        if not division:
            return dataset
        part = {"part": phase} if self._builder.takes(division, "part") else {}
        split: Split = self._build(division, **part)
        return split.of(dataset)

    def _whole(self, node: Node, classes: Sequence[str] | None) -> Any:
        takes = classes is not None and self._builder.takes(node, "classes")
        return self._build(node, **({"classes": list(classes or ())} if takes else {}))

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

    def _tensorizer(self, block: Block, dataset: Any, phase: str, around: Surroundings) -> Any:
        """The split's tensorizer; what one learns from training holds for all."""
        node = block.get("tensorizer")
        if not node:
            return None
        tensorizer = self._build(node)
        if not hasattr(tensorizer, "learn"):
            return tensorizer
        if around.learnt is not None:
            tensorizer.load_state_dict(around.learnt)
        elif phase == "train":
            tensorizer.learn(dataset)
            around.learnt = tensorizer.state_dict()
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
            say=around.say if around.world.rank == 0 else _to_stderr,
        )


def _to_stderr(text: str) -> None:
    """What only this rank knows, because it is the one that read the file."""
    print(text, file=sys.stderr, flush=True)


def _collate_for(tensorizer: Any) -> Collate:
    """The usual collate, told which fields have unequal length and what fills them."""
    return Collate(
        pad_values={**getattr(tensorizer, "pad_values", {}), **collate.pad_values},
        ragged={**collate.ragged, **getattr(tensorizer, "ragged", {})},
    )


def _is_import_path(name: str) -> bool:
    """Whether a transform is the user's own class rather than a name the back end knows."""
    library = name.partition(".")[0]
    return ("." in name or ":" in name) and library not in ("albumentations", "torchvision")
