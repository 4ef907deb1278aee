"""All spellings lead to one normal form, which leads to itself and remembers positions."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "tests/fixtures/document_000/apps/my_project/train.yaml"

BARE = {
    "model": "torch.nn.Identity",
    "optimizer": {"type": "Adam", "lr": 0.001},
    "dataloader": {"train": {"dataset": {"data_path": "data/train"}}},
}


def stage_of(changes: dict[str, Any] | None = None, **words: Any) -> dict[str, Any]:
    return compile_config({**copy.deepcopy(BARE), **(changes or {}), **words}).resolved["stages"][0]


def errors_of(changes: dict[str, Any]) -> list[Any]:
    with pytest.raises(ConfigErrors) as caught:
        compile_config({**copy.deepcopy(BARE), **changes})
    return caught.value.problems


@pytest.mark.seed("S0-16", "S0-17", "S0-18", "S0-48", "S0-54", "S0-55", "S0-56")
def test_document_000_in_normal_form():
    resolved = compile_config(DOCUMENT).resolved
    (stage,) = resolved["stages"]
    assert (resolved["project"], resolved["name"]) == ("my_project", "train")
    assert (resolved["seed"], resolved["device"], resolved["dir"]) == (0, "auto", None)
    assert (stage["name"], stage["epochs"], stage["eval_every"]) == ("train", 100, {"epochs": 1})
    assert stage["model"] == {
        "type": "apps.my_project.model:MyModel",
        "kwargs": {"num_classes": 101},
    }
    assert stage["criterion"] == {"type": "cvtrainer.loss:CrossEntropyLoss", "kwargs": {}}
    assert stage["optimizer"]["type"] == "torch.optim:Adam"
    assert stage["optimizer"]["layerwise"] == {"backbone": 0.001, "adapter": 0.01, "head": 0.1}
    train = stage["dataloader"]["train"]
    assert train["dataset"] == {
        "type": "cvtrainer.data.detection:detected",
        "kwargs": {"data_path": "data/train"},
    }
    assert train["transforms"]["backend"] == "albumentations"
    assert train["transforms"]["transforms"][1] == {
        "type": "RandomResizedCrop",
        "kwargs": {"height": 224, "width": 224},
    }
    mapping = train["tensorizer"]["kwargs"]["mapping"]
    assert mapping["x"]["type"] == "cvtrainer.data.tensorizer:ImageTensorizer"
    assert mapping["class_id"]["kwargs"] == {"num_classes": 101, "dtype": "float"}
    names = {key: [node["name"] for node in stage[key]] for key in ("logger", "hooks", "meters")}
    assert names["logger"] == ["console", "file", "tensorboard"]
    assert names["hooks"] == ["progress_bar", "logger", "lr_scheduler", "ema", "checkpoint"]
    assert names["meters"] == ["loss", "accuracy"]
    assert stage["ddp"] == {
        "enabled": False,
        "num_gpus": 1,
        "strategy": "ddp",
        "find_unused_parameters": False,
        "sync_batchnorm": False,
        "stuck_after": None,
        "max_restarts": 0,
    }


@pytest.mark.seed("S2-50")
def test_the_normal_form_reloads_to_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(DOCUMENT.parents[2])
    first = compile_config("my_project/train.yaml").resolved
    assert compile_config(first).resolved == first
    saved = tmp_path / "config.yaml"
    saved.write_text(yaml.safe_dump(first, sort_keys=False))
    assert compile_config(saved).resolved == first


def test_spellings_that_mean_the_same(tmp_path):
    plain = {
        "stages": [
            {
                "name": "train",
                "model": {
                    "type": "torch.nn.Linear",
                    "kwargs": {"in_features": 1, "out_features": 2},
                },
                "criterion": {"type": "torch.nn.CrossEntropyLoss", "kwargs": {"reduction": "sum"}},
                "optimizer": {"type": "torch.optim.Adam", "kwargs": {"lr": 0.001}},
                "dataloader": {
                    "train": {
                        "dataset": {
                            "type": "cvtrainer.data.detection:detected",
                            "kwargs": {"data_path": "d"},
                        },
                        "transforms": {
                            "backend": "albumentations",
                            "transforms": [{"type": "ToGray", "kwargs": {"p": 0.5}}],
                        },
                    }
                },
                "hooks": [{"name": "ema", "type": "ema", "kwargs": {"decay": 0.99}}],
                "meters": [{"type": "loss"}, {"type": "accuracy"}],
            }
        ],
        "name": "x",
    }
    other = {
        "stages": {
            "train": {
                "model": "torch.nn:Linear",
                "model_args": {"in_features": 1, "out_features": 2},
                "criterion": "torch.nn.CrossEntropyLoss",
                "criterion_args": {"reduction": "sum"},
                "optimizer": {"type": "Adam", "lr": 0.001},
                "dataloader": {
                    "train": {
                        "dataset": {"args": {"data_path": "d"}},
                        "transforms": [{"type": "ToGray", "p": 0.5}],
                    }
                },
                "hooks": {"ema": {"decay": 0.99}},
                "meters": ["cvtrainer.meters.LossMeter", "AccuracyMeter"],
            }
        },
        "name": "x",
    }
    one, two = compile_config(plain).resolved, compile_config(other).resolved
    assert one == two


@pytest.mark.seed("S0-16", "S0-17")
def test_several_stages_keep_their_order_and_names():
    stages = [{**copy.deepcopy(BARE), "name": "warm"}, copy.deepcopy(BARE)]
    resolved = compile_config({"stages": stages}).resolved
    assert [stage["name"] for stage in resolved["stages"]] == ["warm", "stage2"]


@pytest.mark.seed("S0-18")
def test_epochs_default_to_a_hundred_unless_steps_are_counted():
    assert stage_of()["epochs"] == 100
    assert stage_of(epochs=3)["epochs"] == 3
    assert stage_of(max_steps=10)["epochs"] is None


@pytest.mark.seed("S0-56")
def test_ddp_is_off_by_default():
    assert stage_of()["ddp"]["enabled"] is False
    assert stage_of()["ddp"]["num_gpus"] == 1
    assert stage_of(ddp=True)["ddp"]["enabled"] is True


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (2, {"epochs": 2}),
        ("500st", {"steps": 500}),
        ("3ep", {"epochs": 3}),
        (0.5, {"epochs": 0.5}),
        ("0.25ep", {"epochs": 0.25}),
        ({"epochs": 0.5}, {"epochs": 0.5}),
        ({"steps": 7}, {"steps": 7}),
        (None, {"epochs": 1}),
    ],
)
def test_eval_every(written, read):
    assert stage_of(eval_every=written)["eval_every"] == read


@pytest.mark.parametrize("written", ["often", 0, "5%", True, "1.5ep", {"days": 1}, {"steps": 0.5}])
def test_eval_every_must_be_a_duration(written):
    (problem,) = errors_of({"eval_every": written})
    assert problem.path == "stages.train.eval_every"


def test_entries_that_are_switched_off_are_left_out():
    hooks = {"ema": {"enabled": False}, "checkpoint": {"save_freq": 2}, "logger": False}
    assert [hook["name"] for hook in stage_of(hooks=hooks)["hooks"]] == ["checkpoint"]
    listed = [{"type": "ema", "enabled": False}, "checkpoint"]
    assert [hook["name"] for hook in stage_of(hooks=listed)["hooks"]] == ["checkpoint"]


@pytest.mark.seed("S0-54")
def test_bare_strings_and_nodes_keep_their_order():
    hooks = ["cvtrainer.hooks.EMAHook", {"type": "cvtrainer.hooks.CheckpointHook"}]
    assert [hook["name"] for hook in stage_of(hooks=hooks)["hooks"]] == ["ema", "checkpoint"]
    assert [h["name"] for h in stage_of(hooks=hooks[::-1])["hooks"]] == ["checkpoint", "ema"]


def test_one_name_twice_is_told_at_the_second():
    (problem,) = errors_of({"hooks": ["ema", {"type": "ema"}]})
    assert "'ema'" in problem.what
    named = stage_of(hooks=["ema", {"type": "ema", "name": "slow"}])
    assert [hook["name"] for hook in named["hooks"]] == ["ema", "slow"]


def test_a_dataset_of_the_user_takes_args(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self, root: str): ...\n")
    split = {"dataset": {"type": "mine.py:Mine", "args": {"root": "here"}}}
    stage = stage_of(dataloader={"train": split})
    assert stage["dataloader"]["train"]["dataset"] == {
        "type": "mine.py:Mine",
        "kwargs": {"root": "here"},
    }


def test_classes_are_found_in_scanned_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apps/kit").mkdir(parents=True)
    (tmp_path / "apps/kit/nets.py").write_text(
        "from cvtrainer.core.catalog import MODELS\n\nclass Plain:\n    pass\n\n"
        "@MODELS.register('fancy')\nclass Ornate:\n    pass\n"
    )
    assert stage_of(scan=["apps/kit"], model="Plain")["model"]["type"] == "apps.kit.nets:Plain"
    assert stage_of(scan=["apps/kit"], model="fancy")["model"]["type"] == "apps.kit.nets:Ornate"


def test_positions_survive_every_move(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(
        "model: torch.nn.Linear\n"
        "model_args:\n"
        "  in_features: 3\n"
        "  out_features: 4\n"
        "optimizer: {type: SGD, lr: 0.1}\n"
        "dataloader: {train: {dataset: {data_path: x}}}\n"
        "hooks:\n"
        "  ema:\n"
        "    decay: 0.9\n"
    )
    compiled = compile_config(config)
    origins = compiled.origins

    def line(*path: Any) -> int:
        mark = origins.value(("stages", 0, *path))
        assert mark is not None
        return mark.line

    assert line("model", "type") == 1
    assert line("model", "kwargs", "out_features") == 4
    assert line("optimizer", "kwargs", "lr") == 5
    assert line("dataloader", "train", "dataset", "kwargs", "data_path") == 6
    assert line("hooks", 0, "kwargs", "decay") == 9


def test_evaluation_files_are_bare_stages(tmp_path):
    config = tmp_path / "eval.yaml"
    config.write_text(
        "checkpoint: best.pth\neval_split: test\nmodel: torch.nn.Identity\n"
        "dataloader: {test: {dataset: {data_path: x}}}\n"
    )
    (stage,) = compile_config(config).resolved["stages"]
    assert (stage["checkpoint"], stage["eval_split"], stage["optimizer"]) == (
        "best.pth",
        "test",
        None,
    )
    with pytest.raises(ConfigErrors) as caught:
        compile_config(config, purpose="train")
    assert "optimizer" in str(caught.value)


SHAPES: list[Any] = [5, "text", [1, 2], [[]], {"type": 3}, {"kwargs": 1}, True, {}, [None], {3: 4}]


@pytest.mark.parametrize(
    "place",
    [
        *(("",), ("stages",), ("model",), ("criterion",), ("optimizer",), ("dataloader",)),
        *(("hooks",), ("meters",), ("logger",), ("ddp",), ("task",), ("name",), ("eval_every",)),
        *(("dataloader", "train", key) for key in ("dataset", "transforms", "tensorizer")),
        ("dataloader", "val", "dataloader_args"),
        ("optimizer", "layerwise"),
        ("optimizer", "kwargs"),
    ],
)
def test_nothing_crashes_over_values_of_the_wrong_shape(place):
    for shape in SHAPES:
        config: dict[str, Any] = copy.deepcopy(BARE)
        inner = config
        for step in place[:-1]:
            inner = inner.setdefault(step, {})
        inner[place[-1]] = copy.deepcopy(shape)
        with contextlib.suppress(ConfigErrors):
            compile_config(config)


def split_of(**words: Any) -> dict[str, Any]:
    block = {"dataset": {"data_path": "data/train"}, **words}
    return stage_of({"dataloader": {"train": block}})["dataloader"]["train"]


def test_a_data_path_alone_leaves_the_format_open():
    """With an argument that only image folders take, it is an image folder."""

    def type_of(**words: Any) -> str:
        return split_of(dataset={"data_path": "d", **words})["dataset"]["type"]

    assert type_of() == "cvtrainer.data.detection:detected"
    assert type_of(task="detection") == "cvtrainer.data.detection:detected"
    assert type_of(kwargs={"split": "train"}) == "cvtrainer.data.detection:detected"
    assert type_of(extensions=[".png"]) == "cvtrainer.data.datasets.image_folder:ImageFolder"


def test_words_of_a_split_become_nodes():
    found = split_of(
        split={"part": "train", "ratio": {"train": 0.8, "val": 0.2}},
        decode={"truncated": "load"},
        cache="ram",
        sampler={"type": "balanced"},
        max_bad="2%",
    )
    assert found["split"] == {
        "type": "cvtrainer.data.splits:Split",
        "kwargs": {"part": "train", "ratio": {"train": 0.8, "val": 0.2}},
    }
    assert found["decode"] == {
        "type": "cvtrainer.data.decode:Decoding",
        "kwargs": {"truncated": "load"},
    }
    assert found["cache"] == {"type": "cvtrainer.data.cache:MemoryCache", "kwargs": {}}
    assert found["sampler"] == {"type": "cvtrainer.data.sampling:Balanced", "kwargs": {}}
    assert found["max_bad"] == 0.02


def test_a_share_is_told_when_it_is_none():
    block = {"dataset": {"data_path": "d"}, "max_bad": "many"}
    (problem,) = errors_of({"dataloader": {"train": block}})
    assert problem.path.endswith("train.max_bad")
    assert "write 1% or 0.01" in problem.what
