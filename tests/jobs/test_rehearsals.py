"""`--fast_dev_run` and `--overfit`: all is exercised, nothing of the real runs is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import cvtrainer
from cvtrainer.core.errors import UserError
from cvtrainer.engine.points import POINTS
from cvtrainer.jobs.rehearsal import learn_by_heart, try_out
from tests.project import change, enter_project
from tests.project import cvtrainer as command

SPY = '''
from cvtrainer.engine.points import POINTS
from cvtrainer.hooks.base import BaseHook

SEEN = {"points": set(), "batches": [], "resumed": 0, "written": []}


class SpyHook(BaseHook):
    """Listens everywhere and keeps a state."""

    def state_dict(self):
        return {"kept": 1}

    def load_state_dict(self, state):
        SEEN["resumed"] += state["kept"]


def listener(point):
    def listen(self, stage):
        SEEN["points"].add((stage.name, point))
        if point == "before_step":
            batch = stage["batch"]
            SEEN["batches"].append((stage.name, stage.phase, batch["meta"]["index"], batch["x"]))
    return listen


for _point in POINTS:
    setattr(SpyHook, _point, listener(_point))


class StrangeLogger:
    """Would write to the outside."""

    def open(self, run, resume_step, stage="train"):
        SEEN["written"].append("open")

    def write(self, record): ...

    def message(self, text): ...

    def close(self): ...
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory with a hook that sees everything."""
    return enter_project(tmp_path, monkeypatch, spy=SPY)


def seen() -> dict[str, Any]:
    from apps.toy.spy import SEEN  # type: ignore[import-not-found]

    found: dict[str, Any] = SEEN
    return found


def two_stages(toy: Path) -> None:
    """A second stage that takes over from the first, both with folders of the user's own."""
    tree = yaml.safe_load(toy.read_text())
    keep = {"type": "CheckpointHook", "kwargs": {"save_dir": "kept", "save_freq": 1}}
    logs = [{"type": "file", "kwargs": {"log_dir": "logs"}}, "apps.toy.spy.StrangeLogger"]
    stage = {**tree["stages"][0], "hooks": [keep, "apps.toy.spy.SpyHook"], "logger": logs}
    stage["dataloader"] = {**stage["dataloader"], "test": stage["dataloader"]["val"]}
    stages = [{**stage, "name": "a"}, {**stage, "name": "b", "init_from": "previous"}]
    toy.write_text(yaml.safe_dump({"stages": stages, "dir": "real"}))


def test_every_stage_phase_point_and_path_is_exercised(toy: Path) -> None:
    two_stages(toy)
    told: list[str] = []
    result = try_out(toy, 2, say=told.append)
    assert seen()["points"] == {(name, point) for name in "ab" for point in POINTS}
    for name in "ab":
        for phase, times in (("train", 2), ("val", 2), ("test", 1)):
            count = sum(batch[:2] == (name, phase) for batch in seen()["batches"])
            assert count == 2 * times, (name, phase)
    assert seen()["resumed"] == 2
    assert seen()["written"] == []
    assert any("left out: strange" in line for line in told)
    assert any(line.startswith("  hook spy: before_train") for line in told)
    assert not any("not reached" in line for line in told)
    assert result.checkpoints == []
    made = {path.name for path in Path().iterdir()}
    assert made == {"apps", "data", "runs"}
    assert result.run.name.startswith("train_fast_dev_run_")
    assert not list(result.run.rglob("*.pth"))


def test_a_mistake_of_a_late_phase_is_found(toy: Path) -> None:
    change(toy, meters=["LossMeter", {"type": "AccuracyMeter", "phases": ["val"]}])
    tree = yaml.safe_load(toy.read_text())
    tree["stages"][0]["dataloader"]["val"]["transforms"]["transforms"][0]["kwargs"]["width"] = 0
    toy.write_text(yaml.safe_dump(tree))
    with pytest.raises(Exception, match=r".+"):
        try_out(toy, 1, say=str.strip)


def test_overfitting_serves_the_same_batches_without_chance(toy: Path) -> None:
    keep = {"type": "CheckpointHook", "kwargs": {"save_dir": "kept"}}
    change(toy, hooks=[keep, "EMAHook", "apps.toy.spy.SpyHook"])
    told: list[str] = []
    words = ["epochs=8", "model.dropout=0.0", "optimizer.lr=0.05"]
    found = learn_by_heart(toy, 2, overrides=words, say=told.append)
    batches = seen()["batches"]
    assert {phase for _, phase, _, _ in batches} == {"train", "val"}
    shown = {tuple(index) for _, _, index, _ in batches}
    assert len(shown) == 2
    for index in shown:
        pictures = [x for _, _, numbers, x in batches if tuple(numbers) == index]
        assert all(bool((x == pictures[0]).all()) for x in pictures)
    train = [tuple(index) for _, phase, index, _ in batches if phase == "train"]
    assert len(train) <= 8 * 5
    assert train[:5] == [*train[:2], *train[:2], train[0]] == train[5:10]
    first, last = found.losses["train"]
    assert found.fell == (last <= 0.05 * first)
    assert last < first
    assert not Path("kept").exists()
    assert found.result.run.name.startswith("train_overfit_")
    assert "2 fixed batches (8 samples)" in told[0]


def test_what_does_not_fall_is_told(toy: Path) -> None:
    told: list[str] = []
    found = learn_by_heart(toy, 1, overrides=["epochs=1", "optimizer.lr=1e-9"], say=told.append)
    assert not found.fell
    assert any("did NOT fall" in line for line in told)


def test_the_python_call_takes_both_and_refuses_what_does_not_fit(toy: Path) -> None:
    result = cvtrainer.train(toy, fast_dev_run=1, run_dir="tried")
    assert result.run == Path("tried")
    result = cvtrainer.train(toy, overfit=1, overrides=["epochs=1"])
    assert "train/loss" in result.metrics["train"]
    for words in ({"resume": "auto"}, {"num_gpus": 2}, {"overfit": 1}):
        with pytest.raises(UserError, match="does not go together"):
            cvtrainer.train(toy, fast_dev_run=1, **words)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="1 or more"):
        cvtrainer.train(toy, overfit=0)


def test_the_commands(toy: Path, tmp_path: Path) -> None:
    done = command("train", "--fast_dev_run", "apps/toy/train.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stage train: train 1 of 5 batches, val 1 of 3 batches" in done.stdout
    assert "saved, loaded into a new trainer, trained on" in done.stdout
    words = ["--config", str(toy), "--overfit", "1", "epochs=1", "optimizer.lr=1e-9"]
    done = command("train", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "did NOT fall" in done.stdout
