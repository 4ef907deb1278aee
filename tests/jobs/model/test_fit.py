"""`cvtrainer model fit` on a user's small network: verdict, exit code, and what would fit."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from cvtrainer.cli import main
from cvtrainer.jobs.model.fit import Board, board_size, fit
from cvtrainer.jobs.model.smaller import largest
from tests.project import change, enter_project

RAM = 3 * 12 * 12 + 8 * 6 * 6
"""The input and the first convolution's result, in int8."""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_project(tmp_path, monkeypatch)


def test_the_plan_is_that_of_the_configs_own_sample(toy: Path) -> None:
    found = fit(toy, Board())
    assert (found.stage, found.network, found.input_from, found.fits) == (
        "train",
        "model",
        "val",
        None,
    )
    assert found.plan.inputs == ((1, 3, 12, 12),)
    assert found.plan.arena_bytes == RAM == 720
    assert [one.name for one in found.plan.layers] == ["backbone.0", "adapter.0", "head.1"]
    assert found.plan.macs == 8 * 36 * 27 + 24


def test_of_several_stages_the_last_one_is_what_is_planned(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = yaml.safe_load(toy.read_text(encoding="utf-8"))
    pupil = deepcopy(tree["stages"][0])
    pupil.update(name="pupil", model_args={**pupil["model_args"], "width": 4})
    tree["stages"].append(pupil)
    toy.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert fit(toy, Board()).plan.arena_bytes == 432 + 144
    assert fit(toy, Board(), stage="train").plan.arena_bytes == RAM
    assert main(["model", "fit", "--config", str(toy), "--ram", "600"]) == 0
    assert ["stage", "pupil"] in [one.split() for one in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 0, "No limit was given"),
        (["--ram", "720"], 0, "It fits."),
        (["--ram", "719"], 1, "held by x 0.4 KiB and backbone.0 (conv2d) 0.3 KiB"),
        (["--flash", "0.2k"], 1, "flash: 0.3 KiB of 0.2 KiB"),
        (["--ram", "720", "--precision", "float"], 1, "2.8 KiB of 0.7 KiB, 4.00 times"),
        (["--ram", "64", "--input", "3x24x24"], 1, "stages.train.model.kwargs.width: not even 1"),
        (["--ram", "1k", "--in-place", "depthwise,concat"], 0, "in place: concat, depthwise"),
        (["--ram", "1k", "--in-place", "none"], 0, "in place: nothing"),
    ],
)
def test_the_command_tells_and_exits(
    toy: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "fit", "--config", str(toy), *words]) == code
    assert said in capsys.readouterr().out


def test_what_is_suggested_fits_and_is_the_largest(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(ram="600")
    found = fit(toy, board)
    knobs = {one.knob: one for one in found.smaller}
    width = knobs["stages.train.model.kwargs.width"]
    assert (width.value, width.arena_bytes) == ("4", 432 + 144)
    again = fit(toy, board, overrides=[f"{width.knob}={width.value}"])
    assert (again.fits, again.plan.arena_bytes) == (True, width.arena_bytes)
    assert fit(toy, board, overrides=[f"{width.knob}=5"]).fits is False
    shape = tuple(map(int, knobs["input"].value.split("x")))
    assert shape == (3, 10, 10)
    assert fit(toy, board, shape=shape).fits
    assert main(["model", "fit", str(toy), "--ram", "600", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["fits"] is False
    assert told["findings"][0]["resource"] == "RAM"
    assert [one["value"] for one in told["smaller"]] == ["4", "3x10x10"]
    assert told["plan"]["arena_bytes"] == 720


def test_knobs_that_are_not_there_are_named(toy: Path) -> None:
    (toy.parent / "fixed.py").write_text(
        "from torch import nn\n\n\n"
        "class Fixed(nn.Sequential):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(nn.Flatten(), nn.Linear(432, 3))\n",
        encoding="utf-8",
    )
    change(toy, model="apps.toy.fixed.Fixed", model_args={})
    found = fit(toy, Board(ram="100"))
    assert found.smaller == []
    assert found.missing[0].startswith("width: no part of the model takes one of width, ")
    assert found.missing[1] == "input: the model takes nothing smaller than 3x12x12"


def test_sizes_that_a_network_cannot_have_are_no_suggestions(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (toy.parent / "scaled.py").write_text(
        "from torch import nn\n\n\n"
        "class Scaled(nn.Sequential):\n"
        "    def __init__(self, width: float = 1.0, image_size: int = 12) -> None:\n"
        "        assert image_size % 6 == 0\n"
        "        channels = int(8 * width)\n"
        "        assert channels % 2 == 0\n"
        "        body = nn.Conv2d(3, channels, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "        super().__init__(*body, nn.Linear(channels, 3))\n",
        encoding="utf-8",
    )
    change(toy, model="apps.toy.scaled.Scaled", model_args={"width": 1})
    found = fit(toy, Board(ram="1000"))
    assert [(one.knob.rpartition(".")[2], one.value) for one in found.smaller] == [
        ("width", "0.6"),
        ("input", "3x6x6"),
    ]
    assert fit(toy, Board(ram="1000"), overrides=[found.smaller[0].words]).fits  # not given twice
    assert found.smaller[1].words == "--input 3x6x6 stages.train.model.kwargs.image_size=6"
    again = fit(toy, Board(ram="1000"), overrides=found.smaller[1].following, shape=(3, 6, 6))
    assert again.fits
    found = fit(toy, Board(ram="110"))  # not even two channels fit, and none are no network
    assert "width" not in [one.knob.rpartition(".")[2] for one in found.smaller]
    assert "zero-element" not in capfd.readouterr().err


def test_the_largest_is_found_between_what_is_too_small_and_too_large() -> None:
    class Tried:
        def __init__(self, value: int) -> None:
            self.value = value

    tried = []

    def plan_of(value: int) -> Tried:
        tried.append(value)
        if value < 5:
            raise ValueError("too small to build")
        return Tried(value)

    values = list(range(100, 0, -1))
    best, least = largest(values, plan_of, lambda one: one.value <= 37)  # type: ignore[arg-type]
    assert best is not None
    assert best[0] == 37
    assert least is not None
    assert least >= 5
    assert len(tried) < 15

    def of_seven(value: int) -> Tried:
        assert value % 7 == 0
        return Tried(value)

    best, least = largest(values, of_seven, lambda one: one.value <= 62)  # type: ignore[arg-type]
    assert (best and best[0], least) == (56, 7)
    assert largest(values, plan_of, lambda one: False)[0] is None  # type: ignore[arg-type]
    assert largest([4, 3], plan_of, lambda one: True) == (None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "size"), [("256k", 2**18), ("1M", 2**20), ("0.5 MiB", 2**19), ("320kB", 327680)]
)
def test_sizes_as_data_sheets_write_them(text: str, size: int) -> None:
    assert board_size(text, "--ram") == size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ram", "much"], "Write 256k"),
        (["--precision", "int4"], "no precision 'int4'"),
        (["--in-place", "everything"], "There is elementwise, concat, depthwise"),
        (["--network", "other"], "no network is called 'other'"),
        (["--input", "1x32"], "--input: the network cannot take 1x32 ("),
        (["--input", "4x12x12"], "--input: the network cannot take 4x12x12 ("),
    ],
)
def test_wrong_words(
    toy: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "fit", "--config", str(toy), *words]) == 2
    assert message in capsys.readouterr().err
