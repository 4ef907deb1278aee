"""Sounds, channels and vectors are prepared as the run's data set has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import AudioFolder
from cvtrainer.experiment import Experiment
from cvtrainer.jobs.prediction.inputs import inputs_of
from cvtrainer.jobs.prediction.preparing import Preparation
from tests.data.sounds import wav_bytes

TENSORIZER = "cvtrainer.data.tensorizer:"


def preparation(x: str, network: nn.Module, **dataset: Any) -> Preparation:
    mapping = {"x": {"type": f"{TENSORIZER}{x}", "kwargs": {}}}
    if x == "ImageTensorizer":
        mapping["x"]["kwargs"] = {"normalize": None}
    block = {
        "dataset": {"type": "never", "kwargs": dataset},
        "tensorizer": {"type": f"{TENSORIZER}Tensorizer", "kwargs": {"mapping": mapping}},
    }
    stage = {"name": "train", "dataloader": {"val": block}}
    return Preparation.of(stage, Experiment(), None, network)


def prepared(made: Preparation, given: Any) -> torch.Tensor:
    (one,) = inputs_of(given, made.taken)
    x: torch.Tensor = made.prepare(one, locate=False).sample["x"]
    return x


def test_a_colour_picture_becomes_grey_for_one_channel_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    one = preparation("ImageTensorizer", nn.Conv2d(1, 2, 1))
    found = prepared(one, pixels)
    assert found.shape == (1, 4, 6)
    assert (found[0] - torch.from_numpy(grey.astype(np.float32) / 255)).abs().max() < 0.01
    three = preparation("ImageTensorizer", nn.Sequential(nn.Flatten(), nn.Conv2d(3, 2, 1)))
    found = prepared(three, grey)
    assert found.shape == (3, 4, 6)
    assert torch.equal(found[0], found[2])
    assert prepared(preparation("ImageTensorizer", nn.Linear(1, 1)), pixels).shape == (3, 4, 6)


def test_a_sound_is_read_with_the_rate_of_the_data_set(tmp_path: Path) -> None:
    file = tmp_path / "a" / "one.wav"
    file.parent.mkdir()
    file.write_bytes(wav_bytes(np.linspace(-0.5, 0.5, 400), 8000))
    made = preparation("AudioTensorizer", nn.Linear(1, 1), sample_rate=4000, mono=True)
    expected = AudioFolder(tmp_path, sample_rate=4000, mono=True, classes=["a", "b"])[0]["x"]
    assert torch.allclose(prepared(made, str(file)).flatten(), torch.from_numpy(expected).flatten())


def test_rows_of_numbers_are_samples_of_vectors() -> None:
    made = preparation("VectorTensorizer", nn.Linear(3, 1))
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = [made.prepare(one, locate=True).sample["x"] for one in inputs_of(rows, made.taken)]
    assert torch.equal(torch.stack(found), torch.from_numpy(rows))


def test_without_an_evaluation_split_it_says_so() -> None:
    with pytest.raises(UserError, match="no val or test split"):
        Preparation.of({"name": "train", "dataloader": {}}, Experiment(), None, nn.Identity())
