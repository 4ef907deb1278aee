"""What words on the command line do to a run, and where it leaves things: for whole runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtrainer.cli import main
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import change, enter_project


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = enter_project(tmp_path, monkeypatch)
    change(config, epochs=1, logger=["file"], meters=["loss", "accuracy"])
    change(config, hooks=[{"type": "accumulate", "steps": 2}, {"type": "checkpoint"}])
    return config


def saved(run: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((Path(run) / "config.yaml").read_text())
    return content


def part(stage: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in stage["hooks"] if one["name"] == name)
    return found["kwargs"]


@pytest.mark.seed("S1-41", "S1-42", "S1-46", "S4-28")
def test_words_win_and_keep_their_kinds(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate stays a number, a count whole, a name a text; the model that is built follows."""
    words = ["optimizer.lr=0.001", "epochs=2", "name=my_experiment", "hooks.accumulate.steps=4"]
    run = ["train", "--config", str(toy), "dir=run", *words, "model.num_classes=5", "meters=[loss]"]
    assert main(run) == 0
    config = saved("run")
    stage = config["stages"][0]
    assert stage["optimizer"]["kwargs"]["lr"] == 0.001
    assert stage["epochs"] == 2
    assert config["name"] == "my_experiment"
    assert part(stage, "accumulate")["steps"] == 4
    assert isinstance(part(stage, "accumulate")["steps"], int)
    weights = read_checkpoint(Path("run/checkpoints/checkpoint_epoch_2.pth"))["networks"]["model"]
    assert weights["head.1.weight"].shape[0] == 5
    capsys.readouterr()
    assert main([*run[:4], "model.num_clases=5"]) == 2
    assert "Did you mean num_classes?" in capsys.readouterr().err


@pytest.mark.seed("S1-48", "S2-16")
@pytest.mark.parametrize("kind", ["yaml", "py", "json"])
def test_another_config_is_another_run(toy: Path, kind: str) -> None:
    """One flag chooses the file; it may be YAML, Python or JSON, and its values are what counts."""
    tree = yaml.safe_load(toy.read_text())
    tree["stages"][0]["optimizer"]["kwargs"]["lr"] = 0.25
    other = toy.with_name(f"other.{kind}")
    text = {"yaml": yaml.safe_dump(tree), "py": f"config = {tree!r}\n", "json": json.dumps(tree)}
    other.write_text(text[kind])
    assert main(["train", "--config", str(other), "dir=run", "max_steps=1"]) == 0
    assert saved("run")["stages"][0]["optimizer"]["kwargs"]["lr"] == 0.25
    assert saved("run")["name"] == "other"


@pytest.mark.seed("S1-51")
def test_each_run_has_a_folder_of_its_own(toy: Path) -> None:
    """Named after project, run and time; two in one second do not meet."""
    for _ in range(2):
        assert main(["train", "--config", str(toy), "max_steps=1"]) == 0
    folders = sorted(path.name for path in Path("runs/toy").iterdir() if path.is_dir())
    assert len(folders) == 2
    pattern = re.compile(r"train_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?")
    assert all(pattern.fullmatch(name) for name in folders), folders


@pytest.mark.seed("S2-102", "S4-28", "S4-58")
def test_all_that_a_run_writes_lies_in_its_folder(toy: Path) -> None:
    """Logs, config and checkpoints; epochs are numbered from 1 to the last."""
    before = set(Path().rglob("*"))
    assert main(["train", "--config", str(toy), "dir=results/one", "epochs=3"]) == 0
    made = {path for path in set(Path().rglob("*")) - before if path.is_file()}
    inside = {path for path in made if path.is_relative_to("results/one")}
    assert all("__pycache__" in path.parts or "runs" in path.parts for path in made - inside)
    for name in ("config.yaml", "train.log", "metrics.jsonl", "checkpoints/checkpoint_epoch_3.pth"):
        assert Path("results/one", name) in inside
    lines = Path("results/one/metrics.jsonl").read_text().splitlines()
    epochs = [line["epoch"] for line in map(json.loads, lines) if line["phase"] == "val"]
    assert epochs == [1, 2, 3]


@pytest.mark.seed("S4-67", "S4-68", "S4-69")
def test_the_best_and_the_last_and_going_on_from_the_last(toy: Path) -> None:
    """Best by accuracy, where higher is better; both files hold all that going on needs."""
    hook = {
        "type": "checkpoint",
        "save_freq": 0,
        "save_top_k": 1,
        "metric_name": "val/accuracy",
        "save_last": True,
        "names": {"best": "best.pt", "last": "last.pt"},
    }
    change(toy, hooks=[hook])
    words = ["train", "--config", str(toy), "dir=run"]
    assert main([*words, "epochs=4"]) == 0
    assert sorted(path.name for path in Path("run/checkpoints").iterdir()) == ["best.pt", "last.pt"]
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    scores = {line["epoch"]: line["val/accuracy"] for line in lines if line["phase"] == "val"}
    best, last = (read_checkpoint(Path("run/checkpoints", one)) for one in ("best.pt", "last.pt"))
    assert best["clock"]["epoch"] == max(scores, key=lambda epoch: (scores[epoch], -epoch))
    assert best["metrics"]["val/accuracy"] == max(scores.values())
    assert last["clock"]["epoch"] == 4
    assert {"networks", "optimizers", "clock", "metrics", "hooks"} <= set(last)
    assert main([*words, "epochs=6", "--resume", "run/checkpoints/last.pt"]) == 0
    again = read_checkpoint(Path("run/checkpoints/last.pt"))
    assert (again["clock"]["epoch"], again["run_id"]) == (6, last["run_id"])
