"""Makes the batches of a split alone, in this process, and tells what each layer gave.

Two processes that begin at different batches must come to the same batch; the first layer (order,
data set, pictures, transforms, tensorizer, mixers, collate, device steps) that gives something
else is the owner of the difference. It is also told who moved a global generator.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cvtrainer.core.compile import CompiledConfig
from cvtrainer.data.pipeline import BatchMaker
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.transforms import Transforms
from cvtrainer.ddp.world import World
from cvtrainer.engine.checkpoint import read_checkpoint, write_checkpoint
from cvtrainer.engine.randomness import random_state, restore_random_state, seed_everything
from cvtrainer.experiment import Data, Experiment, Surroundings
from cvtrainer.jobs.verify_resume.digest import attributes, summary
from cvtrainer.jobs.verify_resume.orders import Orders, Trace


def make_batches(compiled: CompiledConfig, orders: Orders, trace: Trace) -> None:
    """From the batch `first` to the batch `last`, of which each layer's part is written down."""
    config, wanted = compiled.resolved, orders.data
    stage = next(one for one in config["stages"] if one["name"] == wanted["stage"])
    seed_everything(config["seed"], deterministic=config["deterministic"])
    layers = Layers(trace, wanted["phase"])
    data = HeardData(Experiment(compiled.path), layers)
    around = Surroundings(run=None, world=World(), seed=config["seed"], device="cpu")
    stream: Any = data.streams(stage, around)[wanted["phase"]]
    if wanted.get("random_in"):
        restore_random_state(read_checkpoint(Path(wanted["random_in"]))["random"])
    first, last = tuple(wanted["first"]), tuple(wanted["last"])
    make = _maker(stream, layers, seed=config["seed"])
    for epoch, number in _places(first, last, limit=int(wanted["limit"])):
        if [epoch, number] == wanted.get("random_out_at"):
            write_checkpoint(Path(wanted["random_out"]), {"random": random_state()})
        if (epoch, number) == last:
            layers.open = True
            trace.write("kept", parts={"dataset": attributes(getattr(stream, "dataset", None))})
        make(1 if wanted["phase"] != "train" else epoch, number)


def _places(first: tuple[int, int], last: tuple[int, int], *, limit: int) -> list[tuple[int, int]]:
    return [
        (epoch, number)
        for epoch in range(first[0], last[0] + 1)
        for number in range(limit)
        if first <= (epoch, number) <= last
    ]


def _maker(stream: Any, layers: Layers, *, seed: int) -> Callable[[int, int], None]:
    """Makes one batch of an epoch after the other, through all layers that can be heard."""
    running: dict[int, Any] = {}
    if not isinstance(stream, LoaderStream):

        def serve(epoch: int, number: int) -> None:
            if epoch not in running or number == 0:
                running[epoch] = stream.epoch(epoch, start=number)
            layers.heard("stream", type(stream).__name__, lambda: next(running[epoch], None))

        return serve
    parts = stream.parts
    heard = replace(
        parts,
        dataset=HeardDataset(parts.dataset, layers),
        transforms=_through(parts.transforms, layers, "transforms"),
        tensorizer=_through(parts.tensorizer, layers, "tensorizer"),
        mixers=tuple(HeardMixer(mixer, layers) for mixer in parts.mixers),
        collate=_through(parts.collate, layers, "dataloader_args.collate_fn"),
    )
    maker = BatchMaker(heard, seed=seed, with_draw_seeds=layers.with_draw_seeds)
    sampler = type(stream.plan.sampler).__name__

    def make(epoch: int, number: int) -> None:
        if epoch not in running or number == 0:
            running[epoch] = stream.plan.requests(epoch, start=number)
        request = layers.heard("sampler", sampler, lambda: next(running[epoch], None))
        if request is not None:
            batch = maker.make(request).batch
            layers.heard("device_steps", "", lambda: stream.finish(batch))

    return make


class Layers:
    """Writes down what each layer gave, while it is open."""

    def __init__(self, trace: Trace, phase: str) -> None:
        self.open = False
        self._trace = trace
        self._phase = phase
        self.types: dict[str, str] = {}
        self.with_draw_seeds = False

    def heard(self, layer: str, kind: str, act: Callable[[], Any]) -> Any:
        """What the layer gives, whatever that is."""
        if not self.open:
            return act()
        before = _generators()
        given = act()
        after = _generators()
        self._trace.write(
            "layer",
            owner=[layer, f"dataloader.{self._phase}.{layer}", self.types.get(layer, kind)],
            gave=summary(given if not hasattr(given, "indices") else list(given.indices)),
            moved=[name for name in before if before[name] != after[name]],
        )
        return given


class HeardData(Data):
    """Data whose own transforms are heard one by one, and whose batches are made here."""

    def __init__(self, experiment: Experiment, layers: Layers) -> None:
        super().__init__(experiment.builder)
        self._layers = layers

    def stream(
        self,
        block: Mapping[str, Any],
        phase: str,
        around: Surroundings,
        chosen: Callable[[Any], Any] | None = None,
    ) -> Any:
        node = str(block["dataset"].get("type") or "")
        self._layers.types["dataset"] = node.replace(":", ".").rpartition(".")[2]
        self._layers.with_draw_seeds = bool(block.get("device_steps"))
        quiet = {**(block.get("dataloader_args") or {}), "num_workers": 0}
        for word in ("workers", "multiprocessing_context", "persistent_workers"):
            quiet.pop(word, None)
        return super().stream({**block, "dataloader_args": quiet}, phase, around, chosen)

    def transforms(self, block: Mapping[str, Any]) -> Transforms | None:
        written = block.get("transforms")
        if not written:
            return None
        items = [self._heard(node) for node in written["transforms"] or ()]
        return Transforms(written["backend"], items)

    def _heard(self, node: Mapping[str, Any]) -> Any:
        if not {".", ":"} & set(node["type"]) or node["type"].startswith(
            ("albumentations", "torch")
        ):
            return node
        item = self._build(node)
        return item if hasattr(item, "apply") else HeardTransform(item, self._layers)


class _Heard:
    """Stands in for a part; what it does not hear is the part's own."""

    def __init__(self, inner: Any, layers: Layers) -> None:
        self.inner = inner
        self.layers = layers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class HeardDataset(_Heard):
    """Hears records."""

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return self._hear(self.inner.__getitem__, index)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return (lambda index: self._hear(found, index)) if name == "record" else found

    def _hear(self, get: Callable[[int], Any], index: int) -> Any:
        return self.layers.heard("dataset", type(self.inner).__name__, lambda: get(index))


class HeardTransform(_Heard):
    """Hears one transform that the user wrote."""

    @property
    def __name__(self) -> str:
        return type(self.inner).__name__

    def __call__(self, *given: Any) -> Any:
        name = getattr(self.inner, "__name__", type(self.inner).__name__)
        return self.layers.heard("transforms", name, lambda: self.inner(*given))


class HeardMixer(_Heard):
    """Hears mixing."""

    def mix(self, own: Any, others: Sequence[Any], rng: Any) -> Any:
        kind = type(self.inner).__name__
        return self.layers.heard("mixers", kind, lambda: self.inner.mix(own, others, rng))


class _HeardCall(_Heard):
    """Hears a step from one thing to another."""

    def __init__(self, inner: Any, layers: Layers, layer: str) -> None:
        super().__init__(inner, layers)
        self.layer = layer

    def __call__(self, *given: Any) -> Any:
        self.layers.heard(f"before {self.layer}", "", lambda: given[0])
        name = getattr(self.inner, "__name__", type(self.inner).__name__)
        return self.layers.heard(self.layer, name, lambda: self.inner(*given))


def _through(part: Any, layers: Layers, layer: str) -> Any:
    return None if part is None else _HeardCall(part, layers, layer)


def _generators() -> dict[str, str]:
    """Where the global generators stand."""
    return {
        "Python's": summary(repr(random.getstate())),
        "numpy's": summary(repr(np.random.get_state(legacy=True))),
        "torch's": summary(torch.get_rng_state()),
    }
