"""A stage's networks, built but not trained, and one batch to run through them.

The batch is a sample of the config's own evaluation split where its data is there, else one of the
given shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import World
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.jobs.model.spelling import Written

_PHASES = ("val", "test", "train")
_SHAPE = "--input"


@dataclass
class Opened:
    """`origin` tells where the batch is from; `forward` runs a batch as in evaluation."""

    path: Path | None
    stage: Mapping[str, Any]
    seed: int
    networks: dict[str, nn.Module]
    batch: dict[str, Any]
    origin: str
    forward: Callable[[Any], Any]
    experiment: Experiment
    written: Written
    draws: bool
    """Whether the task draws what its networks take."""

    def networks_of(self, stage: Mapping[str, Any]) -> dict[str, nn.Module]:
        """Networks of a changed stage, built alike."""
        return _built(self.experiment, stage, self.seed)[1]


def open_stage(
    config: str | Path,
    *,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    shape: Sequence[int] | None = None,
    last: bool = False,
) -> Opened:
    """Build the stage's networks and get a batch for them; of several stages with a model the first
    one's, or the `last` one's."""
    compiled = compile_config(config, overrides, purpose="eval")
    chosen = _stage(compiled.resolved["stages"], stage, last=last)
    experiment = Experiment(compiled.path)
    seed = compiled.resolved["seed"]
    task, networks = _built(experiment, chosen, seed)
    if shape is not None:
        batch, origin = _drawn(shape), _SHAPE
    else:
        batch, origin = _from_data(chosen, experiment, seed)
    forward = _forward(task, chosen, real=shape is None)
    written = Written(config, overrides)
    draws = hasattr(task, "draw")
    return Opened(
        compiled.path, chosen, seed, networks, batch, origin, forward, experiment, written, draws
    )


def _built(
    experiment: Experiment, stage: Mapping[str, Any], seed: int
) -> tuple[Any, dict[str, nn.Module]]:
    torch.manual_seed(seed)
    task: Any = experiment.task(stage)
    networks = dict(task.networks)
    for network in networks.values():
        network.eval()
    return task, networks


def _stage(
    stages: Sequence[Mapping[str, Any]], name: str | None, *, last: bool
) -> Mapping[str, Any]:
    if name is None:
        able = [one for one in stages if one.get("model")] or stages
        return able[-1 if last else 0]
    found = next((one for one in stages if one["name"] == name), None)
    if found is None:
        known = ", ".join(str(one["name"]) for one in stages)
        raise UserError(f"no stage is called {name!r}", where="--stage", todo=f"There is {known}.")
    return found


def _forward(task: Any, stage: Mapping[str, Any], *, real: bool) -> Callable[[Any], Any]:
    """The model alone where there is one; other tasks as they evaluate a batch."""
    if isinstance(task, SupervisedTask):
        node = stage["model"]
        bare = SupervisedTask(
            task.networks["model"],
            outputs=node.get("outputs") or (),
            bind_model=node.get("bind"),
        )
        needed = _needed(task.networks["model"])

        def ask(batch: Any) -> Any:
            return bare.predict(_as_in_use(batch, needed))

        return ask if real else _explained(ask)
    if not real:
        raise UserError(
            f"{type(task).__name__} has several networks, which a shape alone does not feed",
            where=_SHAPE,
            todo="Leave it out, so that a batch of the config's data is used.",
        )
    return lambda batch: task.evaluate(batch).outputs


def _explained(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A shape that the network cannot take is a wrong word."""

    def explained(batch: Any) -> Any:
        try:
            return ask(batch)
        except UserError:
            raise
        except Exception as error:  # whatever the network makes of a shape that it does not know
            shape = "x".join(str(length) for length in batch["x"].shape[1:])
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"the network cannot take {shape} ({reason})",
                where=_SHAPE,
                todo="Give channels, height and width as its pictures have them: 3x64x64.",
            ) from error

    return explained


def _needed(network: nn.Module) -> set[str]:
    """Fields without which the network cannot be asked."""
    parameters = inspect.signature(network.forward).parameters.values()
    return {one.name for one in parameters if one.default is inspect.Parameter.empty}


def _as_in_use(batch: dict[str, Any], needed: set[str]) -> dict[str, Any]:
    """Without targets that the network takes only to compute a loss of its own, until it trains."""
    target = batch.get("target")
    if not isinstance(target, Mapping) or torch.is_grad_enabled():
        return batch
    return {**batch, "target": {name: one for name, one in target.items() if name in needed}}


def _drawn(shape: Sequence[int]) -> dict[str, Any]:
    x = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    return {"x": x, "meta": {"index": [0], "path": [_SHAPE]}}


def _from_data(
    stage: Mapping[str, Any], experiment: Experiment, seed: int
) -> tuple[dict[str, Any], str]:
    """One sample of the first split that can be read, as a batch."""
    loaders = stage.get("dataloader") or {}
    around = Surroundings(run=None, world=World(), seed=seed, device="cpu")
    trouble = "the stage has no data"
    for phase in _PHASES:
        if not (loaders.get(phase) or {}).get("dataset"):
            continue
        block = {
            **loaders[phase],
            "dataloader_args": {"batch_size": 1, "num_workers": 0},
            "sampler": None,
            "mixers": None,
            "cache": None,
        }
        try:
            stream = experiment.data.stream(block, phase, around)
            try:
                return stream.finish(next(iter(stream.epoch(1)))), phase
            finally:
                stream.close()
        except (UserError, OSError, StopIteration) as error:
            trouble = str(error) or type(error).__name__
    raise UserError(
        f"no sample to look at: {trouble}", todo="Give the shape of one: --input 3x224x224."
    )
