"""Pictures that a network makes, from files or from nothing, are files again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cvtrainer
from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.models import PictureGenerator
from cvtrainer.tasks import Pictures
from tests.project import cvtrainer as command
from tests.tasks.test_gan import STAGE as DUEL

CODES = """
task: {type: pictures, output: recon}
model: {type: vqvae, in_channels: CHANNELS, width: 4, blocks: 1, codes: 8, code_width: 2}
criterion:
  vq: {type: given_loss, bind: {output: vq}}
  recon: {type: MSELoss, bind: {input: recon, target: x}}
optimizer: {type: Adam, lr: 0.01}
dataloader:
  train: &data
    dataset: {type: digits, size: 16, color: COLOR}
    tensorizer: {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
    dataloader_args: {batch_size: 32}
  val: *data
max_steps: 2
"""


def trained(folder: Path, text: str) -> Path:
    """The run of this stage."""
    (folder / "train.yaml").write_text(text, encoding="utf-8")
    return cvtrainer.train(folder / "train.yaml", run_dir=folder / "run").run


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize(("color", "channels"), [("grey", 1), ("rgb", 3)])
def test_a_reconstruction_is_written(tmp_path: Path, color: str, channels: int) -> None:
    """As the network gave it, under the name of its input."""
    text = CODES.replace("CHANNELS", str(channels)).replace("COLOR", color)
    run = trained(tmp_path, text)
    given = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(given).save(tmp_path / "one.png")
    done = command("predict", "--run", str(run), "one.png", "--out", "told", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote 1 made pictures in told/made" in done.stdout
    (told,) = cvtrainer.load(run).predict(tmp_path / "one.png", tensors=True)
    recon = told["outputs"]["recon"]
    wanted = recon.mul(255).round().byte().movedim(0, -1).squeeze(-1).numpy()
    assert np.array_equal(pixels(tmp_path / "told" / "made" / "one.png"), wanted)
    line = json.loads((tmp_path / "told" / "predictions.jsonl").read_text())
    assert line["height"] == line["width"] == 16
    assert line["mean"] == pytest.approx(float(recon.mean()), rel=1e-4)


def test_a_gan_makes_pictures_of_a_seed(tmp_path: Path) -> None:
    """With the average of its generator; a picture depends on seed and number alone."""
    run = trained(tmp_path, DUEL)
    words = ("predict", "--run", str(run), "--make")
    done = command(*words, "5", "--seed", "3", "--batch_size", "2", "--out", "told", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "told" / "made").iterdir())
    assert [path.name for path in files] == [f"3_000{number}.png" for number in range(5)]
    assert len({path.read_bytes() for path in files}) == 5
    assert pixels(files[0]).shape == (16, 16)

    model = cvtrainer.load(run)
    again = list(model.make(2, seed=3))
    for answer, path in zip(again, files, strict=False):
        wanted = answer.outputs["made"].mul(255).round().byte()[0].numpy()
        assert np.array_equal(pixels(path), wanted)
    other = next(model.make(1, seed=4))
    assert not torch.equal(other.outputs["made"], again[0].outputs["made"])

    averaged = read_checkpoint(model.checkpoint)["hooks"]["ema"]["averaged_weights"]["generator"]
    generator = PictureGenerator(latent=5, size=16, channels=1, width=4).eval()
    generator.load_state_dict(averaged)
    drawn = model.predictor._task.draw(1, 4)
    torch.testing.assert_close(generator(drawn)[0], other.outputs["made"])


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    run = trained(tmp_path, DUEL)
    model = cvtrainer.load(run)
    with pytest.raises(UserError, match=r"makes pictures of latents \[N, 5\]; the input is"):
        model.predict(np.zeros((16, 16, 1), np.uint8))
    with pytest.raises(UserError, match="make 0"):
        model.make(0)
    done = command("predict", "--run", str(run), "--make", "2", "one.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "or, instead, --make N" in done.stderr


def test_a_task_that_makes_nothing_says_so(tmp_path: Path) -> None:
    text = CODES.replace("CHANNELS", "1").replace("COLOR", "grey")
    with pytest.raises(UserError, match="makes nothing of its own"):
        list(cvtrainer.load(trained(tmp_path, text)).make(2))


def test_an_output_that_is_no_picture() -> None:
    with pytest.raises(UserError, match=r"'recon' has the shape \[2, 4\]"):
        Pictures().decode({"recon": torch.zeros(2, 4)})
    with pytest.raises(UserError, match="gives no output 'made'"):
        Pictures("made").decode({"recon": torch.zeros(2, 4)})
