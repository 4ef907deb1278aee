"""Whole runs of a small project: what the verbs make, and that the config's words take effect."""

from __future__ import annotations

import importlib
import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cvtrainer
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import change, enter_project
from tests.project import cvtrainer as command

SPY = '''
import json
import weakref
from pathlib import Path

from cvtrainer.hooks.base import BaseHook

SEEN = {}


class SpyHook(BaseHook):
    """Keeps what a stage was made of."""

    def __init__(self, note: str = "") -> None:
        self.note = note

    def before_train(self, stage):
        SEEN.setdefault("stages", []).append(stage.name)
        SEEN.setdefault("start", {})[stage.name] = {
            name: value.clone() for name, value in stage.model.state_dict().items()
        }
        SEEN["trainer"] = stage.trainer

    def before_step(self, stage):
        SEEN.setdefault("batches", []).append((stage.phase, stage["batch"]))


class LifeHook(BaseHook):
    """Counts the trainers that live."""

    def before_train(self, stage):
        trainers = SEEN.setdefault("trainers", weakref.WeakSet())
        trainers.add(stage.trainer)
        SEEN.setdefault("alive", []).append(len(trainers))


class DiesHook(BaseHook):
    """Ends the second epoch of stage b."""

    def after_step(self, stage):
        if stage.name == "b" and stage.epoch == 2:
            raise RuntimeError("killed in b")


class OtherHook(BaseHook):
    def after_step(self, stage):
        SEEN.setdefault("calls", []).append("other")


class ThirdHook(BaseHook):
    def after_step(self, stage):
        SEEN.setdefault("calls", []).append("third")
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory, and nothing left of another test's."""
    return enter_project(tmp_path, monkeypatch, spy=SPY)


def seen() -> dict[str, Any]:
    found: dict[str, Any] = importlib.import_module("apps.toy.spy").SEEN
    return found


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def epochs_of(batches: list[Any], length: int) -> list[list[int]]:
    """Sample numbers epoch by epoch."""
    parts = [batches[first : first + length] for first in range(0, len(batches), length)]
    return [[number for batch in part for number in batch["meta"]["index"]] for part in parts]


def train(*overrides: str, **more: Any) -> Any:
    return cvtrainer.train("apps/toy/train.yaml", overrides=overrides, **more)


@pytest.mark.seed("S0-06", "S0-08")
def test_the_command_line_trains_and_evaluates(toy: Path, tmp_path: Path) -> None:
    done = command("train", "--config", str(toy), "dir=run", "stages.train.epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert (run / "train.log").read_text().count("val") >= 1
    best = run / "checkpoints" / "best_model.pth"
    before = best.read_bytes()
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    done = command("eval", "--config", str(toy), "--checkpoint", str(best), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert best.read_bytes() == before
    validated = next(line for line in logged if line["phase"] == "val")
    for name in ("val/loss", "val/accuracy", "val/accuracy_top5"):
        assert f"{validated[name]:.4f}" in done.stdout.split(name)[1].splitlines()[0]


@pytest.mark.seed("S0-08")
def test_evaluation_equals_what_training_logged_for_that_checkpoint(toy: Path) -> None:
    result = train("dir=run")
    values = cvtrainer.evaluate(toy, checkpoint=result.run / "checkpoints/checkpoint_epoch_3.pth")
    expected = {k: v for k, v in result.metrics["train"].items() if k.startswith("val/")}
    assert values == expected
    loaded = cvtrainer.load(result.run)
    assert loaded.classes == ["class_0", "class_1", "class_2"]
    picture = "data/val/class_1/0.png"
    (one,) = loaded.predict(picture)
    assert one["class"] in loaded.classes
    assert len(loaded.predict([picture, picture])) == 2


def test_load_finds_checkpoints_that_the_config_put_elsewhere(toy: Path) -> None:
    kept = {"type": "CheckpointHook", "kwargs": {"save_dir": "kept", "save_best": True}}
    change(toy, hooks=[kept])
    first, second = train("dir=first"), train("dir=second", "seed=5")
    assert (Path("kept") / "best_model.pth").is_file()
    for result in (first, second):
        loaded = cvtrainer.load(result.run)
        weights = {name: value.clone() for name, value in loaded.network.state_dict().items()}
        files = Path("kept").rglob("best_model.pth")
        states = {state["run_id"]: state for state in map(read_checkpoint, files)}
        own = states[RunFolder.open(result.run).run_id]["networks"]["model"]
        assert all(torch.equal(value, own[name]) for name, value in weights.items())


@pytest.mark.seed("S0-07")
def test_resume_by_path_and_by_auto_continue_the_same_run(toy: Path) -> None:
    whole = train("dir=whole", "stages.train.epochs=4")
    train("dir=cut", "stages.train.epochs=2")
    again = train(
        "dir=cut", "stages.train.epochs=4", resume="cut/checkpoints/checkpoint_epoch_2.pth"
    )
    states = [
        read_checkpoint(result.run / "checkpoints" / "checkpoint_epoch_4.pth")
        for result in (whole, again)
    ]
    for name, value in states[0]["networks"]["model"].items():
        assert torch.equal(value, states[1]["networks"]["model"][name])
    assert whole.metrics == again.metrics
    steps = [json.loads(line)["step"] for line in lines_of("cut/metrics.jsonl")]
    assert steps == sorted(steps)
    done = train("dir=cut", "stages.train.epochs=4", resume="auto")
    assert done.metrics["train"] == whole.metrics["train"]


@pytest.mark.seed("S0-16", "S0-17", "S0-19")
@pytest.mark.parametrize("source", ["previous", "warm", None])
def test_stages_run_in_order_and_hand_over_on_request(toy: Path, source: str | None) -> None:
    tree = yaml.safe_load(toy.read_text())
    first = {**tree["stages"][0], "hooks": ["apps.toy.spy.SpyHook"], "epochs": 1, "name": "warm"}
    second = {**first, "name": "tune", "init_from": source}
    toy.write_text(yaml.safe_dump({"stages": [first, second]}))
    seen_before = seen()
    seen_before.clear()
    result = train("dir=run")
    found = seen()
    assert found["stages"] == ["warm", "tune"]
    assert list(result.metrics) == ["warm", "tune"]
    log = (result.run / "train.log").read_text()
    assert log.index("stage warm") < log.index("stage tune")
    end = read_checkpoint(result.run / "checkpoints" / "warm" / "last.pth")
    start = found["start"]["tune"]
    handed = all(torch.equal(v, start[name]) for name, v in end["networks"]["model"].items())
    assert handed == (source is not None)


def test_a_run_resumed_in_its_second_stage_ends_like_the_unbroken_one(toy: Path) -> None:
    tree = yaml.safe_load(toy.read_text())
    ema = {"type": "EMAHook", "kwargs": {"decay": 0.5}}
    first = {**tree["stages"][0], "hooks": ["CheckpointHook", ema], "epochs": 2, "name": "warm"}
    second = {**first, "name": "tune", "init_from": "previous"}
    third = {**first, "name": "last", "init_from": "warm", "epochs": 1}
    toy.write_text(yaml.safe_dump({"stages": [first, second, third]}))
    whole = train("dir=whole")
    part = train("dir=part")
    folder = part.run / "checkpoints"
    for path in (folder / "tune" / "checkpoint_epoch_2.pth", *(folder / "last").iterdir()):
        path.unlink()
    again = train("dir=part", resume="auto")
    assert list(again.metrics) == ["tune", "last"]
    assert again.metrics["last"] == whole.metrics["last"]
    start = read_checkpoint(folder / "warm" / "checkpoint_epoch_2.pth")
    averaged = start["hooks"]["ema"]["averaged_weights"]["model"]["head.1.weight"]
    assert not torch.equal(averaged, start["networks"]["model"]["head.1.weight"])


@pytest.mark.seed("S0-18", "S0-44", "S0-45", "S0-46")
def test_epochs_batches_and_shuffling(toy: Path) -> None:
    change(toy, hooks=["apps.toy.spy.SpyHook"])
    seen().clear()
    result = train("dir=run")
    assert read_checkpoint(result.run / "checkpoints" / "last.pth")["clock"]["epoch"] == 3
    trained = [batch for phase, batch in seen()["batches"] if phase == "train"]
    checked = [batch for phase, batch in seen()["batches"] if phase == "val"]
    assert [len(batch["x"]) for batch in trained] == [4, 4, 4, 4, 2] * 3
    orders = epochs_of(trained, 5)
    assert all(sorted(order) == list(range(18)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epochs_of(checked, 3) == [list(range(9))] * 3
    loaders = seen()["trainer"].streams
    assert loaders["val"].options.num_workers == 0


@pytest.mark.seed("S0-20", "S0-21")
def test_model_path_and_arguments(toy: Path) -> None:
    change(toy, hooks=["apps.toy.spy.SpyHook"])
    train("dir=run", "stages.train.model_args.num_classes=7", "stages.train.epochs=1")
    model = seen()["trainer"].model
    assert type(model).__name__ == "TinyNet"
    assert model.head[1].out_features == 7
    with pytest.raises(ConfigErrors, match="num_clases"):
        train("stages.train.model_args.num_clases=7")
    with pytest.raises(ConfigErrors, match=r"apps\.toy\.model.*TinyNett"):
        train("stages.train.model=apps.toy.model.TinyNett")


@pytest.mark.seed("S0-22", "S0-23")
def test_criterion_by_any_path_and_with_arguments(toy: Path) -> None:
    change(toy, logger=[], hooks=["CheckpointHook"])
    losses = {}
    for name, words in {
        "ours": ["stages.train.criterion=cvtrainer.loss.CrossEntropyLoss"],
        "torch": ["stages.train.criterion=torch.nn.CrossEntropyLoss"],
        "smooth": ["stages.train.criterion_args.label_smoothing=0.1"],
    }.items():
        result = train(f"dir={name}", "stages.train.epochs=1", *words)
        losses[name] = result.metrics["train"]["train/loss"]
    assert losses["ours"] == losses["torch"]
    assert losses["smooth"] != losses["ours"]


@pytest.mark.seed("S0-26", "S0-27")
def test_layerwise_rates_from_the_config(toy: Path) -> None:
    optimizer = {
        "type": "Adam",
        "kwargs": {"lr": 0.005},
        "layerwise": {"backbone": 0.001, "head": 0.1},
    }
    change(toy, optimizer=optimizer, hooks=["apps.toy.spy.SpyHook"])
    train("dir=run", "stages.train.epochs=1")
    groups = seen()["trainer"].optimizer.param_groups
    assert {group["name"]: group["lr"] for group in groups} == {"backbone": 0.001, "head": 0.1}


@pytest.mark.seed("S0-53")
@pytest.mark.parametrize("hooks", [[], ["EMAHook", "CheckpointHook"]])
def test_metrics_are_written_without_a_logger_hook(toy: Path, hooks: list[str]) -> None:
    change(toy, hooks=hooks)
    result = train("dir=run", "stages.train.epochs=1")
    lines = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in lines} == {"train", "val"}


@pytest.mark.seed("S0-54")
def test_hooks_as_strings_and_nodes_are_called_in_list_order(toy: Path) -> None:
    listed = ["apps.toy.spy.ThirdHook", {"type": "apps.toy.spy.OtherHook"}]
    for hooks, order in ((listed, ["third", "other"]), (listed[::-1], ["other", "third"])):
        change(toy, hooks=hooks)
        seen().clear()
        train("dir=run", "stages.train.epochs=1")
        assert seen()["calls"][:2] == order


@pytest.mark.seed("S0-15")
def test_relative_paths_count_from_the_working_directory(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = {"type": "CheckpointHook", "kwargs": {"save_dir": "./kept"}}
    file = {"type": "file", "kwargs": {"log_dir": "./logs", "filename": "own.log"}}
    events = {"type": "tensorboard", "kwargs": {"log_dir": "./events"}}
    lines = {"type": "jsonl", "kwargs": {"log_dir": "./logs"}}
    change(toy, hooks=[checkpoint], logger=[file, events, lines])
    for name in ("here", "there"):
        place = tmp_path / name
        place.mkdir()
        (place / "data").symlink_to(tmp_path / "data")
        monkeypatch.chdir(place)
        cvtrainer.train(toy, overrides=["stages.train.epochs=1"])
        assert (place / "logs" / "own.log").is_file()
        assert (place / "logs" / "metrics.jsonl").is_file()
        assert list((place / "events").glob("events.out.tfevents.*"))
        assert (place / "kept" / "checkpoint_epoch_1.pth").is_file()
        assert (place / "runs" / "toy").is_dir()


@pytest.mark.seed("S0-55")
def test_meters_of_the_config_report_every_epoch(toy: Path) -> None:
    result = train("dir=run")
    lines = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    validated = [line for line in lines if line["phase"] == "val"]
    assert len(validated) == 3
    assert all(
        {"val/loss", "val/accuracy", "val/accuracy_top5"} <= line.keys() for line in validated
    )


def test_the_resolved_config_trains_alone_to_the_same_end(toy: Path) -> None:
    first = train("dir=first", "stages.train.epochs=2")
    second = cvtrainer.train(first.run / "config.yaml", overrides=["dir=second"])
    assert first.metrics == second.metrics


def test_a_dictionary_is_a_config_too(toy: Path) -> None:
    tree = yaml.safe_load(toy.read_text())
    result = cvtrainer.train({**tree, "project": "p", "name": "n"})
    assert result.run.parent == Path("runs/p")
    assert result.run.name.startswith("n_")


def test_what_does_not_fit_is_told_before_anything_is_made(toy: Path) -> None:
    with pytest.raises(UserError):
        train("stages.train.init_from=nowhere.pth")
    with pytest.raises(ConfigErrors):
        train("stages.train.epochs=many")
    assert not Path("runs/toy").exists() or not list(Path("runs/toy").glob("*/checkpoints/*.pth"))


def test_each_stage_has_its_own_classes_and_leaves_no_trainer_behind(toy: Path) -> None:
    tree = yaml.safe_load(toy.read_text())
    first = {**tree["stages"][0], "hooks": ["apps.toy.spy.LifeHook"], "epochs": 1, "name": "wide"}
    second = {**deepcopy(first), "name": "narrow"}
    for split in ("train", "val"):
        shutil.copytree(f"data/{split}", f"other/{split}")
        Path(f"other/{split}/class_0").rename(f"other/{split}/zebra")
        second["dataloader"][split]["dataset"]["data_path"] = f"other/{split}"
    toy.write_text(yaml.safe_dump({"stages": [first, second]}))
    result = train("dir=run")
    for stage, classes in (
        ("wide", ["class_0", "class_1", "class_2"]),
        ("narrow", ["class_1", "class_2", "zebra"]),
    ):
        last = read_checkpoint(result.run / "checkpoints" / stage / "last.pth")
        assert last["classes"] == classes
    assert seen()["alive"] == [1, 1]


def test_the_result_names_only_files_that_are_still_there(toy: Path) -> None:
    change(toy, hooks=[{"type": "CheckpointHook", "kwargs": {"max_keep": 1}}])
    result = train("dir=run")
    assert [path.name for path in result.checkpoints] == ["checkpoint_epoch_3.pth"]


def test_a_run_that_was_moved_is_loaded_and_goes_on_where_it_is(toy: Path) -> None:
    moved = train("dir=first", "stages.train.epochs=1").run.rename("second")
    checkpoint = moved / "checkpoints" / "checkpoint_epoch_1.pth"
    assert cvtrainer.load(checkpoint).classes == ["class_0", "class_1", "class_2"]
    assert train("stages.train.epochs=2", resume=str(checkpoint)).run == moved
    assert not Path("first").exists()


def test_a_killed_run_without_a_checkpoint_hook_goes_on_from_its_best(toy: Path) -> None:
    change(toy, hooks=["apps.toy.spy.DiesHook"])
    with pytest.raises(RuntimeError, match="killed in b"):
        train("stages.train.name=b", "dir=run")
    change(toy, hooks=[])
    train("stages.train.name=b", "dir=run", resume="auto")
    epochs = [json.loads(line)["epoch"] for line in lines_of("run/metrics.jsonl")]
    assert epochs.count(1) == epochs.count(3) == 2


def test_an_earlier_stage_in_a_shared_folder_is_found(toy: Path) -> None:
    tree = yaml.safe_load(toy.read_text())
    keep = {"type": "CheckpointHook", "kwargs": {"save_dir": "kept"}}
    stage = {**tree["stages"][0], "epochs": 1, "hooks": [keep, "apps.toy.spy.DiesHook"]}
    toy.write_text(yaml.safe_dump({"stages": [{**stage, "name": "a"}, {**stage, "name": "b"}]}))
    with pytest.raises(RuntimeError, match="killed in b"):
        train("dir=run", "stages.b.epochs=2")
    last = next(Path("kept").rglob("checkpoint_epoch_1.pth"))
    last.unlink()
    seen().clear()
    with pytest.raises(RuntimeError, match="killed in b"):
        train("dir=run", "stages.b.epochs=2", resume="auto")
    assert not list(Path("run").glob("earlier*"))


@pytest.mark.seed("S0-97")
def test_a_scheduler_may_be_named_by_its_import_path(toy: Path) -> None:
    words = {"scheduler_type": "torch.optim.lr_scheduler.StepLR", "by": "step"}
    arguments = {**words, "scheduler_kwargs": {"step_size": 1, "gamma": 0.5}}
    change(toy, hooks=[{"type": "LRSchedulerHook", "kwargs": arguments}, "apps.toy.spy.SpyHook"])
    train("dir=run", "stages.train.epochs=1")
    (group,) = seen()["trainer"].optimizer.param_groups
    assert group["lr"] == pytest.approx(0.01 * 0.5**5)
