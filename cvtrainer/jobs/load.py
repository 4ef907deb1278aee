"""A trained model back from its run folder or checkpoint, with what it needs to predict.

`cvtrainer.load(run).predict(image)` takes file paths or images, applies the evaluation transforms
and the tensorizer of the run's own config, and gives the outputs by name; with a class map also
the class and its probability.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.data.collate import collate
from cvtrainer.data.decode import read_image
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.sample import Sample
from cvtrainer.data.tensorizer import Tensorizer
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.prepare import pick_device, to_device
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.engine.weights import load_weights, weights_for_use
from cvtrainer.experiment import Experiment
from cvtrainer.jobs.run_checkpoints import best_checkpoint, run_of
from cvtrainer.protocols import Batch, Outputs

Image = str | Path | Any
"""A file, or a decoded image as RGB uint8 array of height, width, channel."""


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image."""

    outputs: Outputs
    label: str | None = None
    probability: float | None = None


class LoadedModel:
    """A network in evaluation mode with its own preprocessing."""

    def __init__(
        self,
        task: SupervisedTask,
        preprocess: Callable[[Sample], Sample],
        finish: Callable[[Batch], Batch],
        *,
        classes: Sequence[str] | None,
        device: torch.device,
    ) -> None:
        self.network = task.networks["model"].to(device).eval()
        self.classes = list(classes) if classes is not None else None
        self._task = task
        self._preprocess = preprocess
        self._finish = finish
        self._device = device

    def predict(self, images: Image | Sequence[Image]) -> list[Prediction]:
        """One prediction per image, in order; a single image gives a list of one."""
        several = images if isinstance(images, (list, tuple)) else [images]
        batch = collate([self._preprocess(self._sample(image)) for image in several])
        with torch.no_grad():
            outputs = self._task.predict(self._finish(to_device(batch, self._device)))
        return [self._one(outputs, place) for place in range(len(several))]

    def _sample(self, image: Image) -> dict[str, Any]:
        path = str(image) if isinstance(image, (str, Path)) else "image"
        pixels = read_image(image) if isinstance(image, (str, Path)) else image
        return {"x": pixels, "meta": {"index": 0, "path": path}}

    def _one(self, outputs: Mapping[str, Tensor], place: int) -> Prediction:
        own = {name: value[place].cpu() for name, value in outputs.items()}
        scores = next(iter(own.values()))
        if self.classes is None or scores.ndim != 1 or len(scores) != len(self.classes):
            return Prediction(own)
        probabilities = scores.softmax(0)
        best = int(probabilities.argmax())
        return Prediction(own, self.classes[best], float(probabilities[best]))


def load(source: str | Path, *, device: str = "cpu") -> LoadedModel:
    """From a run folder (its best checkpoint, else its newest) or from a checkpoint of a run."""
    path = Path(source)
    if path.is_dir():
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
    task = experiment.task(stage)
    if not isinstance(task, SupervisedTask):
        raise UserError(f"{type(task).__name__} does not predict", where=str(source))
    load_weights(task.networks["model"], weights_for_use(state), source=str(checkpoint))
    return LoadedModel(
        task,
        *_preprocessing(stage, experiment),
        classes=state.get("classes"),
        device=pick_device(device),
    )


def _config_of(run: Path) -> tuple[list[dict[str, Any]], Experiment]:
    """The stages of the run, and what builds their parts."""
    config = run / "config.yaml"
    if not config.is_file():
        raise UserError(
            "the run's config.yaml is not there, so the model is not known", where=str(run)
        )
    stages: list[dict[str, Any]] = compile_config(config).resolved["stages"]
    return stages, Experiment(config)


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def _preprocessing(
    stage: Mapping[str, Any], experiment: Experiment
) -> tuple[Callable[[Sample], Sample], Callable[[Batch], Batch]]:
    """The evaluation split's transforms and the tensorizer of its image field; its device steps."""
    loaders = stage.get("dataloader") or {}
    split = loaders.get("val") or loaders.get("test")
    if not split or not split.get("tensorizer"):
        raise UserError(
            "no val or test split with a tensorizer says how to prepare an image",
            where=f"stages.{stage['name']}",
        )
    transforms = experiment.data.transforms(split)
    tensorizer = experiment.builder.build(split["tensorizer"])
    images = Tensorizer({"x": tensorizer.mapping["x"]})

    def prepare(sample: Sample) -> Sample:
        if transforms is not None:
            sample = transforms(sample, DrawKey(0, 0, 0))
        return images(sample)

    return prepare, experiment.data.device_steps(split) or _as_it_is
