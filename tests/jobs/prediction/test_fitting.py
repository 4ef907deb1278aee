"""Where evaluation resizes nothing, the run remembers its size and prediction fits to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import cvtrainer
from cvtrainer.jobs.ckpt.making import strip
from cvtrainer.jobs.load import open_trained
from cvtrainer.pictures.prepare import prepared
from tests.project import change, enter_project


@pytest.mark.seed("S3-89")
def test_a_checkpoint_knows_the_size_that_its_config_leaves_to_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    loaders = yaml.safe_load(config.read_text())["stages"][0]["dataloader"]
    del loaders["val"]["transforms"]
    change(config, dataloader=loaders)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    assert open_trained(run).input_size == (16, 16)

    pixels = np.random.default_rng(0).integers(0, 256, (37, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("odd.png")
    model = cvtrainer.load(run)
    assert model.input_spec is not None
    assert model.input_spec.size == (16, 16)
    row = torch.from_numpy(prepared(pixels, model.input_spec))
    with torch.no_grad():
        shares = model.network(row[None]).softmax(1)[0]
    (told,) = model.predict("odd.png", tensors=True)
    assert torch.allclose(told["outputs"]["probabilities"], shares, atol=1e-6)

    newest = next(iter(sorted((run / "checkpoints").glob("*.pth"))))
    strip(newest, "small.pth")
    assert torch.load("small.pth", weights_only=True)["input_size"] == [16, 16]


def test_a_config_that_says_the_size_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    assert open_trained(run).input_size is None
    assert cvtrainer.load(run).input_spec.size == (12, 12)
