"""Command-line overrides: entries by name, arguments of nodes, every stage, taking out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.address import find
from cvtrainer.core.errors import ConfigErrors
from cvtrainer.core.load import load_file
from cvtrainer.core.override import apply_overrides
from cvtrainer.core.tree import Mark, Tree, path_text

CONFIG = """
seed: 0
stages:
  - name: warm
    epochs: 2
    model: apps.x.model.Net
    criterion: cvtrainer.loss.CrossEntropyLoss
    optimizer: {type: Adam, kwargs: {lr: 0.1}}
    hooks: [progress_bar]
  - name: train
    epochs: 5
    model: apps.x.model.Net
    model_args: {num_classes: 3}
    optimizer: {type: SGD, lr: 0.2, layerwise: {head: 1.0}}
    dataloader:
      train:
        dataset: {type: apps.x.Data, args: {root: a}}
        transforms:
          backend: torchvision
          transforms:
            - {type: Resize, kwargs: {height: 8}}
            - {type: HorizontalFlip}
            - {type: Resize, name: again}
    hooks:
      - cvtrainer.hooks.ProgressBarHook
      - {type: cvtrainer.hooks.EMAHook, kwargs: {decay: 0.999}}
      - {type: cvtrainer.hooks:LRSchedulerHook, name: sched}
    meters: {accuracy: {topk: [1, 5]}, loss: null}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "c.yaml").write_text(CONFIG)
    return load_file(tmp_path / "c.yaml")


def value(tree: Tree, address: str, *overrides: str) -> Any:
    data: Any = apply_overrides(tree, overrides).data
    for step in find(data, address.split(".")):
        data = data[step]
    return data


def problem(tree: Tree, *overrides: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        apply_overrides(tree, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "address", "expected"),
    [
        ("seed=3", "seed", 3),
        ("device=cpu", "device", "cpu"),
        ("stages.train.epochs=3", "stages.train.epochs", 3),
        ("stages.1.epochs=1e-1", "stages.train.epochs", 0.1),
        ("stages[-1].epochs=3", "stages.train.epochs", 3),
        ("stages.train.hooks.ema.decay=0.5", "stages.train.hooks.ema.kwargs.decay", 0.5),
        ("stages.train.hooks.ema.kwargs.decay=0.5", "stages.train.hooks.ema.kwargs.decay", 0.5),
        ("stages.train.hooks.EMAHook.decay=0.5", "stages.train.hooks.ema.kwargs.decay", 0.5),
        ("hooks.ema.enabled=false", "stages.train.hooks.ema.enabled", False),
        ("hooks.sched.step=[1, 2]", "stages.train.hooks.sched.kwargs.step", [1, 2]),
        ("stages.train.optimizer.lr=0.3", "stages.train.optimizer.lr", 0.3),
        ("stages.warm.optimizer.lr=0.3", "stages.warm.optimizer.kwargs.lr", 0.3),
        ("stages.warm.optimizer.type=AdamW", "stages.warm.optimizer.type", "AdamW"),
        ("optimizer.layerwise.head=2", "stages.train.optimizer.layerwise.head", 2),
        ("stages.train.model.num_classes=9", "stages.train.model_args.num_classes", 9),
        ("stages.warm.model.num_classes=9", "stages.warm.model.kwargs.num_classes", 9),
        ("stages.warm.criterion.gamma='2'", "stages.warm.criterion.kwargs.gamma", "2"),
        ("dataloader.train.dataset.root=b", "stages.train.dataloader.train.dataset.args.root", "b"),
        ("meters.loss.name=x", "stages.train.meters.loss.name", "x"),
        ("meters.accuracy.topk=[1]", "stages.train.meters.accuracy.topk", [1]),
        ("ddp.enabled=true", "stages.warm.ddp.enabled", True),
        ("name='null'", "name", "null"),
        ("stages.train.x=a=b", "stages.train.x", "a=b"),
        ("project=", "project", ""),
        ("dir=@home", "dir", "@home"),
        ("stages.train.init_from=null", "stages.train.init_from", None),
    ],
)
def test_where_a_value_goes(tree: Tree, override: str, address: str, expected: object) -> None:
    assert value(tree, address, override) == expected


def test_transforms_by_name_and_number(tree: Tree) -> None:
    place = "dataloader.train.transforms.transforms"
    data = value(
        tree,
        f"stages.train.{place}",
        f"{place}.horizontal_flip.p=1.0",
        f"{place}.again.height=4",
        f"{place}.0.height=2",
    )
    assert [entry.get("kwargs") for entry in data] == [{"height": 2}, {"p": 1.0}, {"height": 4}]


def test_without_a_stage_every_stage_that_has_it(tree: Tree) -> None:
    data = apply_overrides(
        tree, ["epochs=9", "hooks.progress_bar.width=3", "optimizer.lr=0.7"]
    ).data
    assert [stage["epochs"] for stage in data["stages"]] == [9, 9]
    assert data["stages"][0]["hooks"] == [{"type": "progress_bar", "kwargs": {"width": 3}}]
    assert data["stages"][1]["hooks"][0]["kwargs"] == {"width": 3}
    assert data["stages"][0]["optimizer"]["kwargs"]["lr"] == 0.7
    assert data["stages"][1]["optimizer"]["lr"] == 0.7


def test_null_takes_an_entry_out(tree: Tree) -> None:
    done = apply_overrides(tree, ["hooks.ema=null", "meters.loss=null", "criterion=null"])
    stage = done.data["stages"][1]
    assert len(stage["hooks"]) == 2
    assert stage["meters"] == {"accuracy": {"topk": [1, 5]}}
    assert stage["criterion"] is None
    moved = done.origins.value(("stages", 1, "hooks", 1, "name"))
    assert moved == tree.origins.value(("stages", 1, "hooks", 2, "name"))
    assert len(tree.data["stages"][1]["hooks"]) == 3


def test_the_origin_is_the_command_line_and_remembers(tree: Tree) -> None:
    done = apply_overrides(tree, ["seed=1", "hooks.ema.decay=0.5", "hooks.ema.decay=0.6"])
    path = find(done.data, ("stages", "train", "hooks", "ema", "decay"))
    assert path_text(path, done.data) == "stages.train.hooks.ema.kwargs.decay"
    assert done.origins.value(path) == Mark("<command line>", 3)
    assert [old for _, old in done.origins.history(path)] == [0.999, 0.5]
    assert done.origins.key(path) == tree.origins.key(path)


def test_a_bare_name_made_a_node_keeps_its_place(tree: Tree) -> None:
    done = apply_overrides(tree, ["stages.warm.model.num_classes=9"])
    before = tree.origins.value(("stages", 0, "model"))
    assert done.data["stages"][0]["model"]["type"] == "apps.x.model.Net"
    assert done.origins.value(("stages", 0, "model", "type")) == before


def test_a_file_that_is_one_bare_stage() -> None:
    tree = Tree({"name": "quick", "model": "m", "hooks": ["ema"]})
    for words in (
        "hooks.ema.decay=1",
        "stages.quick.hooks.ema.decay=1",
        "stages.0.hooks.ema.decay=1",
    ):
        hooks = apply_overrides(tree, [words]).data["hooks"]
        assert hooks == [{"type": "ema", "kwargs": {"decay": 1}}]
    assert apply_overrides(tree, ["epochs=2"]).data["epochs"] == 2
    assert "no stage slow" in problem(tree, "stages.slow.epochs=1")
    assert "Did you mean epochs?" in problem(tree, "epoch=1")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("hooks.emma.decay=1", ("there is no entry emma", "ema", "Did you mean ema?")),
        ("hooks.emma=null", ("there is no entry emma", "Did you mean ema?")),
        ("stages.train.hooks.emma.decay=1", ("no entry emma", "stages.train.hooks", "ema?")),
        ("stages.trian.epochs=1", ("no entry trian", "Did you mean train?")),
        ("meters.acuracy.topk=[1]", ("there is no acuracy in meters", "Did you mean accuracy?")),
        ("meters.acuracy=null", ("no entry acuracy",)),
        ("logger.file.filename=x", ("logger",)),
        ("epochz=1", ("there is no epochz", "Did you mean epochs?")),
        ("stages.7.epochs=1", ("no entry 7", "2")),
        ("seed.x=1", ("seed is a number",)),
        ("seed", ("write key=value",)),
        ("=3", ("at least one word",)),
        ("a..b=3", ("no address",)),
        ("seed=[1", ("not YAML",)),
    ],
)
def test_mistakes(tree: Tree, override: str, words: tuple[str, ...]) -> None:
    message = problem(tree, override)
    assert message.startswith("<command line>  ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_same_name_twice_asks_for_the_number() -> None:
    tree = Tree({"stages": [{"name": "a", "hooks": ["ema", {"type": "EMAHook"}]}]})
    assert "several entries; say which by number: 0, 1" in problem(tree, "stages.a.hooks.ema.x=1")


def test_all_mistakes_at_once_and_nothing_changed(tree: Tree) -> None:
    assert problem(tree, "hooks.emma.x=1", "seed=1", "epochz=1").count("\n") == 1
    assert tree.data["seed"] == 0
