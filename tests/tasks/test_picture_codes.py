"""Pictures through a code book, trained from a config like everything else: three named losses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.data.picture_world import CALM, write_picture_world
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.experiment import Experiment
from cvtrainer.loss import PerceptualLoss
from cvtrainer.ops.similarity import peak_signal_to_noise, structural_similarity
from tests.trainer.test_state import assert_same

CONFIG = """
seed: 1
device: cpu
stages:
  - name: train
    epochs: 2
    model: {type: vqvae, width: 8, blocks: 1, codes: 16, code_width: 4}
    criterion:
      vq: {type: given_loss, factor: 0.5, bind: {output: vq}}
      recon: {type: MSELoss, factor: 2.0, bind: {input: recon, target: x}}
      perceptual:
        {type: perceptual_loss, kind: gradients, factor: 0.1, bind: {output: recon, target: x}}
    optimizer: {type: Adam, lr: 0.005}
    dataloader:
      train: &data
        dataset: {type: picture_world, data_path: world, split: train}
        tensorizer:
          {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
        dataloader_args: {batch_size: 12, shuffle: true}
      val:
        <<: *data
        dataset: {type: picture_world, data_path: world, split: val}
        dataloader_args: {batch_size: 8}
    hooks:
      - {type: checkpoint, save_steps: 3, metric_name: val_psnr}
    meters:
      - loss
      - {type: psnr, bind: {output: recon, target: x}}
      - {type: ssim, bind: {output: recon, target: x}}
      - {type: perplexity, codes: 16, bind: {output: codes}}
      - {type: mean, metric: batch_perplexity, bind: {value: perplexity}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_picture_world(tmp_path / "world", train=48, val=16, size=16, look=CALM)
    (tmp_path / "train.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "train.yaml"


def batch() -> dict[str, Any]:
    drawn = torch.Generator().manual_seed(0)
    return {"x": torch.rand(4, 3, 16, 16, generator=drawn), "target": {"class_id": torch.zeros(4)}}


@pytest.mark.seed("S4-71", "S4-72", "S4-76")
def test_the_total_is_the_weighted_sum_of_three_losses(config: Path) -> None:
    torch.manual_seed(0)
    task = Experiment(config).task(compile_config(config).resolved["stages"][0])
    task.networks["model"].eval()
    result = task.evaluate(batch())
    recon, x = result.outputs["recon"], batch()["x"]
    assert list(result.losses) == ["vq", "recon", "perceptual"]
    torch.testing.assert_close(result.losses["vq"], result.outputs["vq"])
    torch.testing.assert_close(result.losses["recon"], functional.mse_loss(recon, x))
    perceptual = PerceptualLoss("gradients")(recon, x)
    torch.testing.assert_close(result.losses["perceptual"], perceptual)
    expected = 0.5 * result.outputs["vq"] + 2 * functional.mse_loss(recon, x) + 0.1 * perceptual
    torch.testing.assert_close(result.loss, expected)


@pytest.mark.seed("S4-70", "S4-73", "S4-74", "S4-75", "S4-80")
def test_it_learns_and_says_all_that_was_measured(config: Path) -> None:
    """Every number of an epoch is logged, the best is judged by PSNR, and pictures get better."""
    result = cvtrainer.train(config, overrides=["epochs=24", "optimizer.lr=0.01"], run_dir="run")
    records = [json.loads(one) for one in (result.run / "metrics.jsonl").read_text().splitlines()]
    measured = [one for one in records if "val/psnr" in one]
    names = {"loss", "loss_vq", "loss_recon", "loss_perceptual", "psnr", "ssim"}
    names |= {"perplexity", "batch_perplexity"}
    numbers = result.metrics["train"]
    assert {f"{phase}/{name}" for phase in ("train", "val") for name in names} <= set(numbers)
    assert measured[-1]["val/psnr"] > measured[0]["val/psnr"] + 1
    assert numbers["val/ssim"] > 0
    assert 1 < numbers["val/batch_perplexity"] <= numbers["val/perplexity"] <= 16


@pytest.mark.seed("S4-71", "S4-72", "S4-73", "S4-74", "S4-75")
def test_what_an_evaluation_says_is_the_mean_over_its_batches(config: Path) -> None:
    """All of it by hand, from the files and the saved weights; the best is the highest PSNR."""
    result = cvtrainer.train(config, overrides=["hooks.checkpoint.save_best=true"], run_dir="run")
    saved = read_checkpoint(config.parent / "run" / "checkpoints" / "best_model.pth")
    task = Experiment(config).task(compile_config(config).resolved["stages"][0])
    model = task.networks["model"].eval()
    model.load_state_dict(saved["networks"]["model"])
    files = sorted((config.parent / "world" / "val").rglob("*.png"))
    pictures = torch.stack([_unit(file) for file in files])
    sums: Counter[str] = Counter()
    with torch.no_grad():
        for x in pictures.split(8):
            made = model(x)
            vq, recon = float(made["vq"]), float(functional.mse_loss(made["recon"], x))
            sums["loss_vq"] += vq
            sums["loss_recon"] += recon
            perceptual = float(PerceptualLoss("gradients")(made["recon"], x))
            sums["loss_perceptual"] += perceptual
            sums["loss"] += 0.5 * vq + 2 * recon + 0.1 * perceptual
            sums["psnr"] += float(peak_signal_to_noise(made["recon"], x).mean())
            sums["batch_perplexity"] += float(made["perplexity"])
            sums["ssim"] += float(structural_similarity(made["recon"], x).mean())
    for name, total in sums.items():
        assert saved["metrics"][f"val/{name}"] == pytest.approx(total / 2, rel=1e-4), name
    records = (result.run / "metrics.jsonl").read_text().splitlines()
    best = max(json.loads(one).get("val/psnr", 0.0) for one in records)
    assert saved["metrics"]["val/psnr"] == best


def _unit(file: Path) -> Tensor:
    with Image.open(file) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


@pytest.mark.seed("S4-70")
def test_it_resumes_bit_for_bit(config: Path) -> None:
    """With a code book that follows its vectors and codes that begin anew at random."""
    whole = cvtrainer.train(config, run_dir="whole")
    cut = cvtrainer.train(config, overrides=["max_steps=3"], run_dir="cut")
    (step,) = (path for path in cut.checkpoints if "step_3" in path.name)
    again = cvtrainer.train(config, run_dir="cut", resume=str(step))
    assert again.metrics == whole.metrics
    first, second = (read_checkpoint(one.checkpoints[-1]) for one in (whole, again))
    assert_same(first["networks"], second["networks"])
    assert_same(first["optimizers"], second["optimizers"])


OWN = '''
from torch import nn


class Codes(nn.Module):
    """What document 004 asks of a model: a picture, the loss of its codes, their perplexity."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        made = self.layer(x)
        return made, made.square().mean(), made.new_tensor(3.0)
'''


@pytest.mark.seed("S4-71", "S4-79")
def test_a_model_of_ones_own_that_returns_three_values(config: Path) -> None:
    (config.parent / "own_codes.py").write_text(OWN)
    tree = yaml.safe_load(config.read_text())
    stage = tree["stages"][0]
    stage["model"] = {"type": "own_codes.py:Codes", "outputs": ["recon", "vq", "perplexity"]}
    stage["meters"] = [
        one for one in stage["meters"] if one != "loss" and one["type"] != "perplexity"
    ]
    config.write_text(yaml.safe_dump(tree))
    result = cvtrainer.train(config, overrides=["epochs=1"], run_dir="run")
    assert result.metrics["train"]["val/batch_perplexity"] == 3.0


class Fixed(nn.Module):
    """What it gives is known."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.count = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.count += 1
        return {"recon": x + self.shift, "perplexity": torch.tensor(float(self.count))}


@pytest.mark.seed("S4-73")
def test_a_mean_counts_every_batch_once() -> None:
    from cvtrainer.engine.recorder import MeterEntry
    from cvtrainer.meters import MeanMeter
    from cvtrainer.trainer import Trainer

    model = Fixed()
    entry = MeterEntry("mean", MeanMeter("mean_perplexity"), bind={"value": "perplexity"})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = {"train": [{"x": torch.rand(size, 2), "y": torch.rand(size, 2)} for size in (5, 5, 2)]}
    trainer = Trainer(model, nn.MSELoss(), optimizer, data, meters=[entry])
    assert trainer.train(1) == {"train/mean_perplexity": 2.0}
