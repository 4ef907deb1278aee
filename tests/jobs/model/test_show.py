"""`cvtrainer model show` against a network whose numbers a hand can compute."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.model.show import show
from tests.project import change, enter_project

CONV, LINEAR = 3 * 8 * 9 + 8, 8 * 3 + 3
CONV_MACS, LINEAR_MACS = 8 * 6 * 6 * 27, 24


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_project(tmp_path, monkeypatch)


def test_every_layer_has_its_numbers(toy: Path) -> None:
    shown = show(toy)
    layers = {layer.name: layer for layer in shown.layers}
    assert shown.input == {"x": [1, 3, 12, 12]}
    assert shown.input_from == "val"
    assert shown.parameters == CONV + 16 + LINEAR
    assert shown.buffers == 8 + 8 + 1
    assert shown.weight_bytes == 4 * (CONV + 16 + LINEAR + 16) + 8
    assert shown.macs == CONV_MACS + LINEAR_MACS
    assert shown.outputs == {"output": [1, 3]}
    assert shown.capabilities is None, "a network of one's own says nothing of itself"
    assert shown.takes is not None
    assert (shown.takes["channels"], shown.takes["mean"]) == (3, (0.485, 0.456, 0.406))
    conv = layers["model.backbone.0"]
    assert (conv.type, conv.depth, conv.parameters) == ("Conv2d", 2, CONV)
    assert (conv.macs, conv.shape, conv.bytes) == (CONV_MACS, [1, 8, 6, 6], 4 * 288)
    assert layers["model.backbone"].parameters == CONV + 16
    assert layers["model"].macs == shown.macs
    # the input, and two maps of 8 x 6 x 6 while BatchNorm makes one out of the other
    assert shown.peak_bytes >= 4 * (432 + 2 * 288)
    assert shown.training_bytes is not None
    assert shown.training_bytes > 4 * (432 + 2 * 288)


def test_an_input_of_another_shape_needs_no_data(toy: Path) -> None:
    shutil.rmtree("data")
    with pytest.raises(UserError, match="--input 3x224x224"):
        show(toy)
    shown = show(toy, shape=(3, 24, 24))
    assert shown.macs == 4 * CONV_MACS + LINEAR_MACS
    assert shown.input_from == "--input"
    bare = toy.with_name("bare.yaml")
    bare.write_text("model: apps.toy.model.TinyNet\n", encoding="utf-8")
    assert show(bare, shape=(3, 12, 12)).macs == CONV_MACS + LINEAR_MACS


@pytest.mark.parametrize("words", [["--depth", "1"], ["--json"], ["--input", "3x16x16"]])
def test_the_command_prints_tree_and_totals(
    toy: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "show", "--config", str(toy), *words]) == 0
    said = capsys.readouterr().out
    if words == ["--json"]:
        assert json.loads(said)["macs"] == CONV_MACS + LINEAR_MACS
        return
    assert ("Conv2d" in said) == (words[0] == "--input")
    assert "parameters" in said
    assert f"{CONV + 16:,}" in said
    assert "1x3" in said


def test_frozen_parts_and_overrides(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy.parent / "frozen.py").write_text(
        "from apps.toy.model import TinyNet\n\n\n"
        "class Frozen(TinyNet):\n"
        "    def __init__(self, width: int = 8) -> None:\n"
        "        super().__init__(width=width)\n"
        "        self.backbone.requires_grad_(False)\n"
        "        self.spare = self.head[1].__class__(2, 2)\n"
        "        self.parts = self.spare.__class__.__mro__[1]()\n"
        "        self.parts.add_module('again', self.head[1])\n"
    )
    change(toy, model="apps.toy.frozen.Frozen", model_args={"width": 4})
    shown = show(toy, overrides=["stages.train.model_args.width=8"])
    layers = {layer.name: layer for layer in shown.layers}
    assert shown.trainable == LINEAR + 6
    assert layers["model.backbone"].trainable == 0
    assert (layers["model.spare"].used, layers["model.spare"].shape) == (False, None)
    held = layers["model.parts"]
    assert (held.used, held.calls, held.macs) == (True, 0, LINEAR_MACS)
    assert main(["model", "show", str(toy)]) == 0
    said = capsys.readouterr().out
    assert "frozen" in said
    assert "not used" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "3x0"], "is not a shape"),
        (["--stage", "other"], "There is train"),
        (["epochz=1"], "Did you mean"),
    ],
)
def test_wrong_words(
    toy: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "show", "--config", str(toy), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_task_that_draws_its_input_takes_no_pictures() -> None:
    config = Path(__file__).parents[3] / "apps" / "picture_duel" / "train.yaml"
    assert show(config).takes is None


def test_what_published_weights_know_is_told(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = toy.with_name("bare.yaml")
    bare.write_text(
        "model: {type: base_model, head: {type: multiclass, num_classes: 3}, "
        "backbone: {type: timm, kwargs: {name: test_vit}}}\n",
        encoding="utf-8",
    )
    assert main(["model", "show", "--config", str(bare), "--input", "3x160x160"]) == 0
    line = next(row for row in capsys.readouterr().out.splitlines() if "published" in row)
    assert "its library's weights know pictures of 160 x 160; scaled to 0..1; less 0.5" in line
