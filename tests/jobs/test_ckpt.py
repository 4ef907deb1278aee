"""`cvtrainer ckpt`: what is in a file, what differs, an average, a stripped one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cvtrainer.cli.program import main
from cvtrainer.engine.checkpoint import read_checkpoint, read_or_before
from cvtrainer.engine.weights import weights_for_use
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.meters import AccuracyMeter
from tests.toy import ToyModel, new_run, toy_trainer

Words = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The checkpoints of a run of three epochs with an average."""
    hooks = [EMAHook(decay=0.5), CheckpointHook(str(tmp_path / "c"))]
    toy_trainer(hooks, meters=[AccuracyMeter()], run=new_run(tmp_path)).train(3)
    return tmp_path / "c"


def epoch(folder: Path, number: int) -> str:
    return str(folder / f"checkpoint_epoch_{number}.pth")


def raw(path: str) -> dict[str, Tensor]:
    return dict(read_checkpoint(Path(path))["networks"]["model"])


def averaged(path: str) -> dict[str, Tensor]:
    return dict(read_checkpoint(Path(path))["hooks"]["ema"]["averaged_weights"]["model"])


def told(capsys: Words, *words: str) -> Any:
    """What a command prints as JSON."""
    capsys.readouterr()
    main(["ckpt", *words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_show_says_what_is_inside(folder: Path, capsys: Words) -> None:
    path = epoch(folder, 2)
    shown = told(capsys, "show", path)
    model = ToyModel()
    assert shown["stage"] == "train"
    assert (shown["epoch"], shown["step"]) == (2, 8)
    assert shown["checksum"] is True
    assert shown["bytes"] == Path(path).stat().st_size
    network = shown["networks"]["model"]
    assert network["parameters"] == sum(one.numel() for one in model.parameters())
    assert network["tensors"] == len(model.state_dict())
    assert network["dtypes"] == {"float32": len(model.state_dict()) - 1, "int64": 1}
    assert network["averaged"] is True
    assert shown["optimizers"]["main"]["lr"] == [0.1]
    assert shown["optimizers"]["main"]["parameters"] == len(list(model.parameters()))
    assert shown["hooks"]["ema"] == sum(one.nbytes for one in model.state_dict().values())
    assert set(shown["metrics"]) == {"train/accuracy", "val/accuracy"}

    assert main(["ckpt", "show", path]) == 0
    text = capsys.readouterr().out
    for word in ("epoch 2, step 8", "99 parameters", "an average beside", "checksum right"):
        assert word in text


def test_show_of_another_programs_weights(tmp_path: Path, capsys: Words) -> None:
    path = tmp_path / "resnet.pth"
    torch.save({"state_dict": ToyModel().state_dict()}, path)
    shown = told(capsys, "show", str(path))
    assert shown["checksum"] is False
    assert shown["networks"]["model"]["parameters"] == 99
    assert main(["ckpt", "show", str(path)]) == 0
    assert "no checksum" in capsys.readouterr().out


def test_the_same_state_of_two_runs_is_no_difference(tmp_path: Path, capsys: Words) -> None:
    for name in ("a", "b"):
        toy_trainer(run=new_run(tmp_path / name)).save(tmp_path / f"{name}.pth")
    assert main(["ckpt", "diff", str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]) == 0
    assert "differs" not in capsys.readouterr().out


def test_a_difference_is_told_by_component(tmp_path: Path, capsys: Words) -> None:
    trainer = toy_trainer([EMAHook()])
    trainer.train(1)
    trainer.save(tmp_path / "a.pth")
    with torch.no_grad():
        trainer.model.head.weight[1, 2] += 0.25
    trainer.optimizer.param_groups[0]["lr"] = 0.5
    trainer.save(tmp_path / "b.pth")
    words = ["ckpt", "diff", str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "networks.model: differs in 1 place, by 0.25 at most" in lines
    assert "  head.weight: 1 of 24 values differ, by 0.25 at most" in lines
    assert "  param_groups.0.lr: 0.1, and 0.5" in lines
    assert "hooks.ema: the same" in lines
    assert main([*words, "--only", "hooks"]) == 0
    assert main([*words, "--only", "networks"]) == 1
    compared = {one["component"]: one for one in told(capsys, *words[1:])}
    assert compared["networks.model"]["largest"] == 0.25
    assert not compared["optimizers.main"]["same"]
    assert compared["clock"]["same"]
    assert main([*words, "--only", "hook"]) == 2
    assert "Did you mean hooks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda net: net.pop("head.bias"), "  head.bias: only in the first"),
        (lambda net: net.update(more=torch.ones(1)), "  more: only in the second"),
        (
            lambda net: net.update({"head.bias": torch.ones(7)}),
            "  head.bias: shape (3,), and (7,)",
        ),
        (
            lambda net: net.update({"head.bias": net["head.bias"].double()}),
            "  head.bias: float32, and float64",
        ),
        (
            lambda net: net["head.bias"].fill_(torch.nan),
            "  head.bias: 3 of 3 values differ, by inf at most",
        ),
    ],
)
def test_weights_of_another_form_are_told(
    tmp_path: Path, capsys: Words, change: Any, line: str
) -> None:
    weights = ToyModel().state_dict()
    torch.save({"model": weights}, tmp_path / "a.pth")
    change(weights)
    torch.save({"model": weights}, tmp_path / "b.pth")
    assert main(["ckpt", "diff", str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]) == 1
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("ema", [False, True])
def test_average_of_three(folder: Path, ema: bool) -> None:
    files = [epoch(folder, number) for number in (1, 2, 3)]
    out = folder.parent / "mean.pth"
    assert main(["ckpt", "average", *files, "-o", str(out), *(["--ema"] if ema else [])]) == 0
    made = weights_for_use(read_checkpoint(out))
    assert torch.load(out, weights_only=True)["networks"]["model"].keys() == made.keys()
    each = [averaged(file) if ema else raw(file) for file in files]
    for name, value in made.items():
        if value.is_floating_point():
            mean = torch.stack([one[name].double() for one in each]).mean(0)
            assert torch.equal(value, mean.float()), name
        else:
            assert torch.equal(value, each[-1][name]), name
    ToyModel().load_state_dict(dict(made))


@pytest.mark.seed("S1-57")
def test_strip_takes_the_average_and_leaves_the_training_behind(
    folder: Path, capsys: Words
) -> None:
    path, out = epoch(folder, 3), folder.parent / "small.ckpt"
    assert main(["ckpt", "strip", path, "-o", str(out)]) == 0
    before, after = Path(path).stat().st_size, out.stat().st_size
    line = capsys.readouterr().out
    assert f"{before / 1000:.1f} kB before, {after / 1000:.1f} kB after" in line
    assert "averaged weights of model" in line
    assert after < before / 2
    state = read_checkpoint(out)
    assert set(state) == {
        "format", "stage", "run_id", "run_path", "metrics", "networks", "made_from",
    }  # fmt: skip
    taken, kept, live = weights_for_use(state), averaged(path), raw(path)
    assert all(torch.equal(taken[name], kept[name]) for name in kept)
    assert not all(torch.equal(kept[name], live[name]) for name in kept)


def test_strip_without_an_average_keeps_the_weights(tmp_path: Path, capsys: Words) -> None:
    trainer = toy_trainer()
    trainer.save(tmp_path / "a.pth")
    out = tmp_path / "b.pth"
    assert main(["ckpt", "strip", str(tmp_path / "a.pth"), "-o", str(out)]) == 0
    assert "averaged" not in capsys.readouterr().out
    found = weights_for_use(read_checkpoint(out))
    assert all(torch.equal(found[name], one) for name, one in trainer.model.state_dict().items())


def test_what_is_made_beside_a_runs_checkpoints_is_no_position(folder: Path) -> None:
    """A damaged neighbour does not lead to it."""
    made, newest = folder / "small.pth", Path(epoch(folder, 3))
    assert main(["ckpt", "strip", str(newest), "-o", str(made)]) == 0
    newest.write_bytes(newest.read_bytes()[:-9])
    path, _ = read_or_before(newest, lambda text: None)
    assert path.name == "checkpoint_epoch_2.pth"


@pytest.mark.parametrize("verb", ["show", "diff", "average", "strip"])
def test_damage_is_one_line(folder: Path, capsys: Words, verb: str) -> None:
    whole, damaged = epoch(folder, 1), Path(epoch(folder, 2))
    content = bytearray(damaged.read_bytes())
    content[random.Random(0).randrange(len(content) - 200)] ^= 4
    damaged.write_bytes(bytes(content))
    capsys.readouterr()
    files = [str(damaged)] if verb in ("show", "strip") else [whole, str(damaged)]
    out = folder.parent / "out.pth"
    words = ["-o", str(out)] if verb in ("average", "strip") else []
    assert main(["ckpt", verb, *files, *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert str(damaged) in said.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["average", "1", "-o", "new.pth"], "two checkpoints at least"),
        (["average", "1", "other.pth", "-o", "new.pth"], "other.pth: head.weight is (4, 8), other"),
        (["average", "1", "less.pth", "-o", "new.pth"], "less.pth: head.bias is missing, other"),
        (["average", "less.pth", "1", "-o", "new.pth"], "head.bias is there, other than in less"),
        (["average", "1", "other.pth", "-o", "new.pth", "--ema"], "no average of the weights"),
        (["strip", "1", "-o", "other.pth"], "there is such a file already"),
        (["strip", "1", "-o", "new.bin"], "End it in .pth"),
        (["strip", "none.pth", "-o", "new.pth"], "none.pth: no such checkpoint"),
        (["show", "text.pth"], "text.pth: this is not a whole checkpoint"),
    ],
)
def test_what_cannot_be_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Words, words: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    other = ToyModel().state_dict()
    other["head.weight"] = torch.zeros(4, 8)
    torch.save(other, "other.pth")
    less = ToyModel().state_dict()
    del less["head.bias"]
    torch.save(less, "less.pth")
    Path("text.pth").write_text("no weights")
    given = [epoch(folder, 1) if word == "1" else word for word in words]
    capsys.readouterr()
    assert main(["ckpt", *given]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not Path("new.pth").exists()
