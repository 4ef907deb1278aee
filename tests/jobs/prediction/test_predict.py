"""Predictions equal what validation computes, in Python and on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import World
from cvtrainer.engine.weight_files import read_weights, weights_for_use
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.jobs.prediction.inputs import Taken, inputs_of
from tests.project import enter_project


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short run of a classifier with an average of its weights; three classes of pictures."""
    config = enter_project(tmp_path, monkeypatch)
    return cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run


def short(path: str) -> str:
    """The class folder and the name of a picture."""
    return "/".join(Path(path).parts[-2:])


def validated(run: Path, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The outputs of the validation split by file."""
    config = run / "config.yaml"
    stage = compile_config(config).resolved["stages"][0]
    around = Surroundings(run=None, world=World(), device="cpu")
    stream = Experiment(config).data.stream(stage["dataloader"]["val"], "val", around)
    found = {}
    with torch.no_grad():
        for batch in stream.epoch(1):
            rows = network(batch["x"])
            found |= {short(p): row for p, row in zip(batch["meta"]["path"], rows, strict=True)}
    stream.close()
    return found


@pytest.mark.seed("S1-58", "S2-32", "S3-89")
def test_a_folder_gives_what_validation_computes_with_the_average(run: Path) -> None:
    model = cvtrainer.load(run)
    average = weights_for_use(read_weights(model.checkpoint))
    assert not model.network.training
    assert all(torch.equal(v, average[name]) for name, v in model.network.state_dict().items())
    told = model.predict("data/val", tensors=True, batch_size=4)
    assert [one["file"] for one in told] == sorted(one["file"] for one in told)
    expected = validated(run, model.network)
    assert [short(one["file"]) for one in told] == sorted(expected)
    for one in told:
        scores = one["outputs"]["output"]
        assert torch.allclose(scores, expected[short(one["file"])], atol=1e-6)
        assert one["probability"] == pytest.approx(float(scores.softmax(0).max()))
        assert model.classes is not None
        assert one["class"] == model.classes[one["class_id"]]
        assert not scores.requires_grad
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    loss = next(line["val/loss"] for line in logged if line["phase"] == "val")
    rows = torch.stack([one["outputs"]["output"] for one in told])
    labels = torch.tensor([int(short(one["file"])[6]) for one in told])
    assert float(cross_entropy(rows, labels)) == pytest.approx(loss, rel=1e-5)


def test_every_form_of_a_picture_gives_the_same(run: Path) -> None:
    model = cvtrainer.load(run)
    file = "data/val/class_2/0.png"
    picture = Image.open(file).convert("RGB")
    pixels = np.asarray(picture)
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    np.save("pixels.npy", pixels)
    torch.save(planes, "planes.pt")
    given: list[Any] = [file, Path(file), picture, pixels, planes, "pixels.npy", "planes.pt"]
    told = [{**one, "file": ""} for one in model.predict(given)]
    assert all(one == told[0] for one in told)
    (encoded,) = inputs_of(file, Taken())
    ready = model.preparation.prepare(encoded, locate=False).sample["x"]
    (same,) = model.predict(ready)
    assert same["probability"] == pytest.approx(told[0]["probability"])


def test_what_cannot_be_read_is_named(run: Path) -> None:
    Path("broken.png").write_bytes(b"\x89PNG no more")
    model = cvtrainer.load(run)
    with pytest.raises(UserError, match="broken"):
        model.predict("broken.png")
    given = ["data/val/class_0/0.png", "broken.png", "data/val/class_1/0.png"]
    answers = list(model.answers(given))
    assert [answer.input.name for answer in answers] == given
    assert [answer.error is None for answer in answers] == [True, False, True]


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint32])
def test_whole_numbers_of_any_type_are_the_same_picture(run: Path, kind: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    model = cvtrainer.load(run)
    (expected,) = model.predict(pixels.astype(np.uint8))
    planes = torch.from_numpy(pixels.astype(np.int64)).permute(2, 0, 1)
    assert model.predict([pixels.astype(kind), planes]) == [
        {**expected, "file": "[0]"},
        {**expected, "file": "[1]"},
    ]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((16, 16, 3), 300), "its numbers go from 300 to 300"),
        (np.full((16, 16, 3), -5), "go from -5 to -5, those of a picture from 0 to 255"),
        (np.zeros((0, 16, 3), np.uint8), "is no picture"),
        (np.zeros((3, 16, 16), np.complex64), "complex64 is no picture"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(run: Path, array: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        cvtrainer.load(run).predict(array)


def test_arrays_that_no_layer_takes_or_without_numbers_are_named(run: Path) -> None:
    ready = np.zeros((3, 3, 16, 16), np.float32)
    ready[1, 0, 0, 0] = np.nan
    np.save("some.npy", ready)
    np.save("six.npy", np.zeros((6, 16, 16), np.float32))
    model = cvtrainer.load(run)
    files = ["some.npy", "six.npy", "data/val/class_0/0.png"]
    reasons = [answer.error or "" for answer in model.answers(files)]
    assert [bool(reason) for reason in reasons] == [False, True, False, True, False]
    assert reasons[1] == "it holds values that are not finite"
    assert "takes 3 channels and gets 6" in reasons[3]
    with pytest.raises(UserError, match=r"six\.npy.* takes 3 channels and gets 6"):
        model.predict("six.npy")


@pytest.mark.seed("S3-07")
def test_the_command_writes_lines_a_table_and_pictures(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.png").write_bytes(b"")
    words = ["predict", "--run", str(run), "data/val/*/1.png", "broken.png", "data/val/class_0"]
    assert main([*words, "--out", "told", "--draw", "--device", "cpu", "--batch_size", "4"]) == 0
    said = capsys.readouterr()
    assert "broken.png: the file is empty; skipped" in said.err
    lines = [json.loads(line) for line in Path("told/predictions.jsonl").read_text().splitlines()]
    expected = [f"data/val/class_{number}/1.png" for number in range(3)]
    expected += [str(path) for path in sorted(Path("data/val/class_0").iterdir())]
    assert [line["file"] for line in lines] == expected
    rows = list(csv.DictReader(Path("told/predictions.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == [line["class"] for line in lines]
    assert len(list(Path("told/pictures").glob("*.png"))) == len(lines)
    assert f"drew {len(lines)} pictures" in said.out


@pytest.mark.seed("S1-08")
def test_one_picture_is_told_and_then_the_split_measured(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(run / "checkpoints" / "best_model.pth")
    assert main(["predict", "--checkpoint", checkpoint, "data/val/class_1/2.png"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["class"] in ("class_0", "class_1", "class_2")
    assert 1 / 3 <= told["probability"] <= 1
    assert main(["eval", "--config", "apps/toy/train.yaml", "--checkpoint", checkpoint]) == 0
    assert "val/accuracy" in capsys.readouterr().out


@pytest.mark.seed("S1-58")
def test_without_files_the_lines_are_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(run / "checkpoints" / "checkpoint_epoch_1.pth")
    weights = weights_for_use(read_weights(Path(checkpoint)))
    torch.save({f"module.{name}": value for name, value in weights.items()}, "weights.pt")
    forms = [
        ["--run", str(run), "--checkpoint", checkpoint],
        ["--checkpoint", checkpoint],
        ["--config", "apps/toy/train.yaml", "--checkpoint", "weights.pt"],
    ]
    found = []
    for form in forms:
        assert main(["predict", *form, "data/val/class_0/0.png"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["class"] in ("class_0", "class_1", "class_2")
    assert found[2]["class"] == str(found[0]["class_id"])
    assert found[2]["probability"] == found[0]["probability"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--run", "RUN", "broken.png"], 1, "0 read, 1 could not be"),
        (["--run", "RUN", "nowhere.png"], 2, "no such file or folder"),
        (["--run", "RUN"], 2, "of which inputs?"),
        (["broken.png"], 2, "which model?"),
        (["--run", "RUN", "broken.png", "--draw"], 2, "--draw needs a folder"),
        (["--run", "RUN", "--config", "x.yaml", "broken.png"], 2, "--config beside --run"),
        (["--run", "RUN", "broken.png", "--batch_size", "0"], 2, "batch_size is 0"),
    ],
)
def test_wrong_calls_and_exit_codes(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    Path("broken.png").write_bytes(b"GIF89a")
    assert main(["predict", *(str(run) if word == "RUN" else word for word in words)]) == code
    assert message in capsys.readouterr().err
