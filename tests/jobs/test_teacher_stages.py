"""A stage whose teacher is an earlier stage of the same run: at once, on resume, in a rehearsal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cvtrainer
from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.trainer.test_state import assert_same

STAGES = """
seed: 3
device: cpu
stages:
  - &large
    name: large
    max_steps: 3
    model: &network
      type: base_model
      backbone: {type: small_cnn, width: 6, depth: 2, in_channels: 1}
      head: {type: multiclass, num_classes: 10}
    criterion: CrossEntropyLoss
    optimizer: {type: Adam, lr: 0.01}
    dataloader:
      train: &data
        dataset: {type: digits, size: 16, color: grey}
        tensorizer:
          {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
        dataloader_args: {batch_size: 32, shuffle: true}
      val: *data
    hooks:
      - {type: ema, decay: 0.5}
      - {type: checkpoint, save_steps: 1, save_freq: 0, max_keep: 9}
  - <<: *large
    name: small
    task:
      type: distillation
      teachers:
        old: {network: *network, weights: large}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text(STAGES, encoding="utf-8")
    return tmp_path / "train.yaml"


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The weights of every teacher that was asked, one after the other."""
    from cvtrainer.tasks import Distillation

    seen: list[dict[str, Tensor]] = []
    compute = Distillation.compute

    def watched(self: Any, batch: Any) -> Any:
        weights = {name: one.clone() for name, one in self.frozen["old"].state_dict().items()}
        if not seen or any(not torch.equal(weights[name], seen[-1][name]) for name in weights):
            seen.append(weights)
        return compute(self, batch)

    monkeypatch.setattr(Distillation, "compute", watched)
    return seen


def checkpoint_of(run: Path, stage: str, step: int) -> Path:
    (found,) = (run / "checkpoints" / stage).glob(f"*step_{step}*")
    return found


def averaged(run: Path) -> dict[str, Tensor]:
    """What the first stage leaves."""
    last = read_checkpoint(checkpoint_of(run, "large", 3))
    weights: dict[str, Tensor] = last["hooks"]["ema"]["averaged_weights"]["model"]
    return weights


def test_the_average_of_the_stage_before_teaches(config: Path, taught: list[Any]) -> None:
    run = cvtrainer.train(config, run_dir="run").run
    assert len(taught) == 1
    assert_same(taught[0], averaged(run))


def test_it_teaches_again_when_its_pupil_is_resumed(config: Path, taught: list[Any]) -> None:
    """The teacher is in no checkpoint of the pupil; it comes from the first stage's own."""
    whole = cvtrainer.train(config, run_dir="whole")
    cut = cvtrainer.train(config, overrides=["stages.small.max_steps=1"], run_dir="cut").run
    again = cvtrainer.train(config, run_dir="cut", resume=str(checkpoint_of(cut, "small", 1)))
    assert again.metrics["small"] == whole.metrics["small"]
    assert all(torch.equal(taught[0][name], taught[-1][name]) for name in taught[0])
    assert set(read_checkpoint(checkpoint_of(cut, "small", 3))["networks"]) == {"model"}


def test_a_rehearsal_has_its_teacher_too(config: Path, taught: list[Any]) -> None:
    result = cvtrainer.train(config, fast_dev_run=1, run_dir="try")
    assert {"large", "small"} <= set(result.metrics)
    assert taught


def test_a_teacher_that_is_no_stage_and_no_file(config: Path) -> None:
    config.write_text(STAGES.replace("weights: large", "weights: largest"), encoding="utf-8")
    with pytest.raises(UserError, match="the weights of old are not there") as caught:
        cvtrainer.train(config, run_dir="run", stage="small")
    assert "Name a file or an earlier stage" in str(caught.value)
