"""A trained model back from its run folder or checkpoint, with what it needs to predict.

`cvtrainer.load(run).predict(image)` takes whatever `cvtrainer predict` takes, prepares it with the
evaluation transforms and the tensorizer of the run's own config, and tells what the task reads in
the outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import known_input
from cvtrainer.core.input_spec import InputSpec, Size
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.data.decode import decode_image
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.hand_over import Wish, hand_over
from cvtrainer.engine.prepare import pick_device
from cvtrainer.engine.weight_files import read_weights
from cvtrainer.experiment import Experiment
from cvtrainer.experiment.aware import round_as_saved
from cvtrainer.experiment.run_checkpoints import best_checkpoint, run_of
from cvtrainer.jobs.prediction.inputs import inputs_of
from cvtrainer.jobs.prediction.predictor import Answer, Predictor
from cvtrainer.jobs.prediction.preparing import Preparation, channels_of
from cvtrainer.protocols import State


@dataclass
class LoadedModel:
    """A task's networks in evaluation mode with their own preprocessing.

    `network` is the only one, or the one called `model`. `input_spec` says what becomes of a file
    before it; None where evaluation does something that has no form there.
    """

    network: nn.Module
    classes: list[str] | None
    checkpoint: Path
    predictor: Predictor
    preparation: Preparation
    input_spec: InputSpec | None = None

    @property
    def takes_pictures(self) -> bool:
        """Whether its inputs can be looked at."""
        return self.preparation.taken.pictures

    def predict(
        self, inputs: Any, *, tensors: bool = False, batch_size: int = 32
    ) -> list[dict[str, Any]]:
        """What the task reads in the outputs, one mapping per input, in order.

        `inputs` is a path (file, folder, pattern), a PIL image, an array, a tensor, or a list of
        these. `tensors` adds `outputs`: the sample's tensors by name, places in them in the
        pixels of the file. An input that cannot be read is an error; `answers` passes over it.
        """
        found = []
        for answer in self.answers(inputs, batch_size=batch_size):
            if answer.error is not None:
                raise BadSample(answer.error, kind="unreadable", where=answer.input.name)
            told = {"file": answer.input.name, **answer.told}
            found.append({**told, "outputs": answer.outputs} if tensors else told)
        return found

    def answers(self, inputs: Any, *, batch_size: int = 32) -> Iterator[Answer]:
        """The same one after the other, with what could not be read among them."""
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}", todo="Give 1 or more.")
        return self.predictor.answers(inputs_of(inputs, self.preparation.taken), batch_size)

    def pixels(self, answer: Answer) -> Any:
        """The picture that an answer is about, as it is in its file; None where it is none."""
        value = answer.input.value
        if isinstance(value, Encoded) and value.kind == "image":
            return decode_image(value.read(), value.name)
        is_picture = isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype == np.uint8
        return value if is_picture else None

    def make(self, count: int, *, seed: int = 0, batch_size: int = 32) -> Iterator[Answer]:
        """What a task that needs no inputs, such as a GAN, makes of `count` drawn ones."""
        if count < 1 or batch_size < 1:
            raise UserError(f"make {count}, batch_size {batch_size}", todo="Give 1 or more.")
        return self.predictor.answers(self.predictor.drawn(count, seed), batch_size)


def load(
    source: str | Path, *, config: str | Path | None = None, device: str = "cpu"
) -> LoadedModel:
    """From a run folder (its best checkpoint, else its newest) or from a checkpoint of a run; with
    a config of one's own, from any file of weights."""
    trained = open_trained(source, config=config, device=device)
    task, stage = trained.task, trained.stage
    if not hasattr(task, "predict"):
        raise UserError(f"{type(task).__name__} does not predict", where=f"stages.{stage['name']}")
    preparation = Preparation.of(
        stage,
        trained.experiment,
        trained.state.get("learnt"),
        trained.network,
        fit=trained.input_size,
    )
    draws = hasattr(task, "draw")
    spec = None if draws else known_input(stage, channels_of(trained.network))
    if spec is not None and trained.input_size is not None:
        spec = spec.fitted(trained.input_size)
    return LoadedModel(
        trained.network,
        trained.classes,
        trained.checkpoint,
        Predictor(task, preparation, stage=stage, classes=trained.classes, device=trained.device),
        preparation,
        spec,
    )


@dataclass
class Trained:
    """A stage's task with its trained networks in evaluation mode."""

    task: Any
    stage: Mapping[str, Any]
    experiment: Experiment
    state: State
    checkpoint: Path
    device: torch.device
    is_last: bool = True
    """Whether no stage of the config comes after it."""

    @property
    def network(self) -> nn.Module:
        """The only one, or the one called `model`."""
        networks: Mapping[str, nn.Module] = self.task.networks
        return networks.get("model") or next(iter(networks.values()))

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, in the order of training."""
        found: Sequence[str] | None = self.state.get("classes")
        return None if found is None else list(found)

    @property
    def input_size(self) -> Size | None:
        """Height and width that pictures are brought to, where the config leaves it to the data."""
        found = self.state.get("input_size")
        return None if found is None else (int(found[0]), int(found[1]))


def open_trained(
    source: str | Path, *, config: str | Path | None = None, device: str = "cpu"
) -> Trained:
    """What `load` opens, before anything is prepared for it."""
    path = Path(source)
    if config is not None:
        checkpoint, state = path, read_weights(path)
        stages, experiment = _stages(Path(config)), Experiment(Path(config))
    elif path.is_dir():
        stages, experiment = _config_of(path)
        found = best_checkpoint(RunFolder.open(path), stages, _to_stderr)
        if found is None:
            raise UserError("this run has no checkpoint", where=str(path))
        checkpoint, state = found
    else:
        checkpoint, state = path, read_checkpoint(path)
        run = run_of(path, state)
        stages, experiment = _config_of(run.path if run is not None else path.parent.parent)
    stage = next((one for one in stages if one["name"] == state.get("stage")), stages[-1])
    task: Any = experiment.task(stage)
    round_as_saved(task, stage, state, source=str(checkpoint))
    hand_over(task.networks, state, Wish(), source=str(checkpoint)).insist()
    place = pick_device(device)
    for network in task.networks.values():
        network.to(place).eval()
    is_last = stage["name"] == stages[-1]["name"]
    return Trained(task, stage, experiment, state, checkpoint, place, is_last)


def _config_of(run: Path) -> tuple[list[dict[str, Any]], Experiment]:
    """The stages of the run, and what builds their parts."""
    config = run / "config.yaml"
    if not config.is_file():
        newest = max(run.glob("*/config.yaml"), key=lambda one: one.stat().st_mtime, default=None)
        if newest is not None:
            what, todo = "this is a folder of runs, not a run", f"The newest is {newest.parent}."
            raise UserError(what, where=str(run), todo=todo)
        raise UserError(
            "the run's config.yaml is not there, so the model is not known",
            where=str(run),
            todo="Give the config too: config=FILE, or --config FILE.",
        )
    return _stages(config), Experiment(config)


def _stages(config: Path) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = compile_config(config, purpose="eval").resolved["stages"]
    return stages


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)
