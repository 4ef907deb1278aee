"""A task named in a config reads what the stage's model gives; a user's own needs no more."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment
from cvtrainer.tasks import Classification

STAGE = """
task: TASK
model:
  type: base_model
  backbone: {type: small_cnn, in_channels: 1}
  head: {type: multiclass, num_classes: 10}
criterion: cross_entropy_loss
optimizer: {type: SGD, lr: 0.1}
dataloader:
  train:
    dataset: {type: digits, size: 16, color: grey}
    tensorizer: {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
    dataloader_args: {batch_size: 64}
meters: [accuracy]
max_steps: 3
"""

OWN = '''
from typing import Any


class Spread:
    """How sure the model is."""

    def decode(self, outputs: Any) -> Any:
        return {"spread": outputs["output"].std(dim=1)}

    def describe(self, outputs: Any, place: int, classes: Any) -> Any:
        return {"spread": float(outputs["spread"][place])}
'''


def test_a_task_is_named_with_its_arguments(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(STAGE.replace("TASK", "{type: classification, top: 3}"), encoding="utf-8")
    stage = compile_config(file).resolved["stages"][0]
    task = Experiment(file).task(stage)
    assert isinstance(task, SupervisedTask)
    assert isinstance(task.reading, Classification)
    assert task.reading.top == 3
    result = cvtrainer.train(file, run_dir=tmp_path / "run")
    assert 0 <= result.metrics["train"]["train/accuracy"] <= 1


def test_a_reading_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own_tasks.py").write_text(OWN, encoding="utf-8")
    file = tmp_path / "train.yaml"
    file.write_text(STAGE.replace("TASK", "own_tasks.py:Spread"), encoding="utf-8")
    stage = compile_config(file).resolved["stages"][0]
    task = Experiment(file).task(stage)
    assert isinstance(task, SupervisedTask)
    assert type(task.reading).__name__ == "Spread"


def test_a_wrong_argument_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(STAGE.replace("TASK", "{type: classification, tpo: 3}"), encoding="utf-8")
    with pytest.raises(ConfigErrors, match=r"train.yaml:2:\d+ .*Did you mean top\?"):
        compile_config(file)


def test_a_model_that_the_task_does_not_take_is_refused(tmp_path: Path) -> None:
    gan = (
        "{type: gan,"
        " generator: {type: picture_generator, latent: 8, size: 16, width: 4, channels: 1},"
        " discriminator: {type: picture_discriminator, size: 16, width: 4, channels: 1},"
        " loss: {type: adversarial_loss, kind: hinge}, latent: 8}"
    )
    file = tmp_path / "train.yaml"
    file.write_text(STAGE.replace("TASK", gan), encoding="utf-8")
    stage = compile_config(file).resolved["stages"][0]
    with pytest.raises(UserError, match="model: the task GAN takes none, so nothing"):
        Experiment(file).task(stage)
    assert Experiment(file).task({**stage, "model": None}).networks.keys() >= {"generator"}
