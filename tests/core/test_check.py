"""Each kind of mistake is told at its place, with what was meant, and all of them at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors

CONFIG = """\
seed: 1
stages:
- name: train
  epochs: 3
  model: torch.nn.Linear
  model_args: {in_features: 2, out_features: 3}
  criterion: torch.nn.CrossEntropyLoss
  optimizer:
    type: AdamW
    kwargs: {lr: 0.001, weight_decay: 0.1}
    layerwise: {head: 0.01}
  dataloader:
    train:
      dataset: {data_path: data}
      transforms:
        backend: Albumentations
        transforms:
        - {type: Resize, kwargs: {height: 8, width: 8}}
        - {type: HorizontalFlip, kwargs: {p: 0.5}}
      tensorizer:
        type: Tensorizer
        mapping:
          x: {type: ImageTensorizer, kwargs: {normalize: imagenet, dtype: float}}
          class_id: {type: IndexTensorizer}
      dataloader_args: {batch_size: 4, shuffle: true}
    val:
      dataset: {data_path: data}
  hooks:
  - type: cvtrainer.hooks.LRSchedulerHook
    kwargs: {scheduler_type: CosineAnnealingLR, scheduler_kwargs: {T_max: 3}}
  - {type: ema, kwargs: {decay: 0.9}}
  - {type: checkpoint, kwargs: {metric_name: val_accuracy, mode: max}}
  meters:
  - {type: accuracy, kwargs: {topk: [1, 5]}}
"""


def problems(tmp_path: Path, text: str, **words):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    try:
        compile_config(path, **words)
    except ConfigErrors as errors:
        return errors.problems
    return []


def test_the_clean_config_is_clean(tmp_path):
    assert problems(tmp_path, CONFIG) == []


@pytest.mark.seed("S0-21")
def test_the_line_that_the_design_promises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changed = CONFIG.replace("weight_decay", "weight_dacay")
    (problem,) = problems(tmp_path, changed)
    assert re.fullmatch(
        r"train\.yaml:10:25  stages\.train\.optimizer\.kwargs\.weight_dacay: "
        r"AdamW takes no such argument\. Did you mean weight_decay\?",
        str(problem),
    )


CASES = [
    # what to replace, by what, part of the path, part of the message, suggestion
    ("seed: 1", "sead: 1", "sead", "unknown key", "seed"),
    ("  epochs: 3", "  epoch: 3", "stages.train.epoch", "unknown key", "epochs"),
    ("  epochs: 3", "  epochs: many", "epochs", "whole number", None),
    ("  epochs: 3", "  epochs: -1", "epochs", "0 or more", None),
    ("  epochs: 3", "  epochs: 3.5", "epochs", "whole number", None),
    ("out_features: 3", "out_feature: 3", "model.kwargs.out_feature", "Linear", "out_features"),
    (", out_features: 3", "", "model.kwargs", "needs the argument `out_features`", None),
    ("out_features: 3", "out_features: three", "out_features", "a whole number", None),
    ("torch.nn.Linear", "torch.nn.Linaer", "model.type", "no attribute", "torch.nn.Linear"),
    ("torch.nn.Linear", "torch.n.Linear", "model.type", "module 'n' in torch", "torch.nn.Linear"),
    ("torch.nn.Linear", "torch.nn", "model.type", "is a module", None),
    ("AdamW", "AdmW", "optimizer.type", "no optimizer called", "AdamW"),
    ("lr: 0.001", "lr: 10", "optimizer.kwargs.lr", "learning rate", None),
    ("lr: 0.001", "lr: 0", "optimizer.kwargs.lr", "learning rate", None),
    ("lr: 0.001", "lr: fast", "optimizer.kwargs.lr", "a number", None),
    ("head: 0.01", "head: 30", "layerwise.head", "learning rate", None),
    ("    type: AdamW", "    tpye: AdamW", "tpye", "unknown key", "type"),
    ("layerwise:", "layerwize:", "layerwize", "AdamW", "layerwise"),
    (
        "dataset: {data_path: data}",
        "dataset: {data_path: data}\n      max_bad: 3",
        "max_bad",
        "1%",
        None,
    ),
    (
        "dataset: {data_path: data}",
        "dataset: {data_path: data}\n      cahce: ram",
        "cahce",
        "unknown",
        "cache",
    ),
    (
        "dataset: {data_path: data}",
        "dataset: {data_path: data}\n      sampler: balancd",
        "sampler",
        "no sampler",
        "balanced",
    ),
    (
        "dataset: {data_path: data}",
        "dataset: {data_path: data, tsk: detection}",
        "tsk",
        "no such",
        "task",
    ),
    (
        "dataset: {data_path: data}",
        "dataset: {data_path: data}\n      decode: {truncate: load}",
        "truncate",
        "Decoding",
        "truncated",
    ),
    ("Albumentations", "Albumentation", "backend", "back end", "albumentations"),
    ("type: Resize", "type: Resise", "transforms", "no transform 'Resise'", "Resize"),
    ("{p: 0.5}", "{prob: 0.5}", "kwargs.prob", "HorizontalFlip", None),
    ("height: 8,", "hieght: 8,", "kwargs.hieght", "Resize", "height"),
    ("ImageTensorizer", "ImageTensoriser", "mapping.x.type", "tensorizer", "ImageTensorizer"),
    ("normalize: imagenet", "normalise: imagenet", "normalise", "Image", "normalize"),
    ("normalize: imagenet", "normalize: imagnet", "normalize", "normalisation", "imagenet"),
    ("imagenet", "{mean: [123, 116, 103], std: [0.2, 0.2, 0.2]}", "mean", "0-255", None),
    ("imagenet", "{mean: [0.5], std: [58.0]}", "std", "0-255", None),
    ("imagenet", "{maen: [0.5], std: [0.5]}", "maen", "unknown key", "mean"),
    ("shuffle: true", "shufle: true", "shufle", "LoaderOptions", "shuffle"),
    ("shuffle: true", "shuffle: sometimes", "shuffle", "true or false", None),
    ("batch_size: 4", "batch_size: 0", "batch_size", "1 or more", None),
    ("CosineAnnealingLR", "CosinAnnealingLR", "scheduler_type", "scheduler", "CosineAnnealingLR"),
    ("{T_max: 3}", "{Tmax: 3}", "scheduler_kwargs.Tmax", "CosineAnnealingLR", "T_max"),
    ("CosineAnnealingLR", "StepLR", "scheduler_kwargs", "needs the argument `step_size`", None),
    ("decay: 0.9", "decay: [0.9]", "ema.kwargs.decay", "a number", None),
    ("val_accuracy", "val_acuracy", "metric_name", "val/accuracy", "val_accuracy"),
    ("val_accuracy", "val_f1", "metric_name", "known are val/loss, val/accuracy", None),
    ("mode: max", "mode: maximum", "mode", "one of max, min", None),
    ("topk: [1, 5]", "topk: five", "topk", "must be", None),
    ("seed: 1", "device: gpu", "device", "no device", "cuda"),
    ("seed: 1", "device: cuda:x", "device", "no device", "cuda"),
    ("seed: 1", "epochs: 3", "epochs", "belongs to a stage", None),
    ("  epochs: 3", "  seed: 3", "seed", "belongs beside", None),
    ("  epochs: 3", "  init_from: previous", "init_from", "no previous", None),
    ("  epochs: 3", "  init_from: warm", "init_from", "no earlier stage", None),
    ("  hooks:", "  hoks:", "stages.train.hoks", "unknown key", "hooks"),
    ("  - {type: ema,", "  - {type: checkpoint,", "checkpoint", "called 'checkpoint'", None),
    ("stages:", "stagse:", "stagse", "unknown key", "stages"),
]


@pytest.mark.parametrize(("old", "new", "path", "what", "suggestion"), CASES)
@pytest.mark.seed("S0-20", "S0-21", "S0-103")
def test_one_mistake_is_told_at_its_line(tmp_path, old, new, path, what, suggestion):
    changed = CONFIG.replace(old, new, 1)
    assert changed != CONFIG
    told = problems(tmp_path, changed)
    first = next((one for one in told if path in one.path and (what in one.what)), None)
    assert first is not None, told
    assert first.suggestion == suggestion
    line = 1 + next(
        n
        for n, (a, b) in enumerate(zip(CONFIG.split("\n"), changed.split("\n"), strict=True))
        if a != b
    )
    assert first.mark.line == line or "called 'checkpoint'" in what


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"  model: .*\n  model_args.*\n", "needs a `model`"),
        (r"  optimizer:\n(    .*\n)+", "needs an `optimizer`"),
        (r"    train:\n(      .*\n)+", "needs `dataloader.train`"),
        (r"      dataset: .*\n", "needs a `dataset`"),
    ],
)
def test_what_must_be_there_is_missed(tmp_path, pattern, what):
    changed = re.sub(pattern, "", CONFIG, count=1)
    told = problems(tmp_path, changed)
    assert any(what in one.what for one in told), told


def test_a_misspelt_required_key_is_told_once(tmp_path):
    (told,) = problems(tmp_path, CONFIG.replace("  optimizer:", "  optimiser:"))
    assert told.suggestion == "optimizer"


def test_all_mistakes_are_told_at_once_and_in_order(tmp_path):
    changed = CONFIG
    for old, new in (("seed", "sead"), ("lr: 0.001", "lr: 50"), ("decay: 0.9", "decya: 0.9")):
        changed = changed.replace(old, new, 1)
    changed = changed.replace(
        "      transforms:\n", '      template: "!include gone.yaml"\n      transforms:\n', 1
    )
    told = problems(tmp_path, changed)
    assert [one.mark.line for one in told] == [1, 10, 15, 32]
    assert ConfigErrors(told).exit_code == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("normalize: imagenet", "normalize: null"),
        ("normalize: imagenet", "normalize: {mean: [0.5, 0.5, 0.5], std: [1.0, 1.0, 1.0]}"),
        ("seed: 1", "device: cuda:1"),
        ("seed: 1", "vars: {a: 3}"),
        ("lr: 0.001", "lr: 1e-3"),
        (
            "CosineAnnealingLR, scheduler_kwargs: {T_max: 3}",
            "OneCycleLR, scheduler_kwargs: {max_lr: 1, total_steps: 9}",
        ),
        ("val_accuracy", "val/accuracy_top5"),
        ("val_accuracy", "val_loss"),
        (", scheduler_kwargs: {T_max: 3}", ""),
        ("  epochs: 3", "  init_from: runs/x/best.pth"),
        ("torch.nn.Linear", "torchvision.models.resnet18"),
        ("{p: 0.5}", "{p: 1}"),
        ("Albumentations", "torchvision"),
        ("- {type: HorizontalFlip, kwargs: {p: 0.5}}", "- HorizontalFlip"),
        ("- {type: HorizontalFlip, kwargs: {p: 0.5}}", "- {type: CLAHE, kwargs: {clip_limit: 2}}"),
        ("{type: ema, kwargs: {decay: 0.9}}", "{type: ema, name: slow, decay: 1}"),
        (
            "Albumentations\n        transforms:\n"
            "        - {type: Resize, kwargs: {height: 8, width: 8}}\n"
            "        - {type: HorizontalFlip, kwargs: {p: 0.5}}",
            "results\n        transforms:\n"
            "        - {type: Resize, target_size: 8}\n        - {type: RandomFlip, p: 0.5}",
        ),
        (
            "dataset: {data_path: data}",
            "dataset: {data_path: data}\n      max_bad: 2%\n      cache: ram\n"
            "      mixers: [{type: mix_up}]\n      device_steps: [normalize]\n"
            "      sampler: balanced\n      decode: {truncated: load, scaled: true}",
        ),
    ],
)
def test_no_false_alarm(tmp_path, old, new):
    if new.startswith("torchvision.models"):
        changed = CONFIG.replace("{in_features: 2, out_features: 3}", "{num_classes: 3}")
        changed = changed.replace(old, new, 1)
    else:
        changed = CONFIG.replace(old, new, 1)
    assert changed != CONFIG
    assert problems(tmp_path, changed) == []


def test_targets_that_cannot_be_read_give_notes(tmp_path):
    path = tmp_path / "train.yaml"
    changed = CONFIG.replace("torch.nn.Linear", "cv2.resize", 1)
    path.write_text(changed)
    assert any("cv2" in note for note in compile_config(path).notes)


def test_meters_that_say_nothing_are_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("class F1:\n    def __init__(self): ...\n")
    changed = CONFIG.replace("{type: accuracy, kwargs: {topk: [1, 5]}}", "mine.py:F1")
    assert problems(tmp_path, changed.replace("val_accuracy", "val_f1")) == []
    (tmp_path / "mine.py").write_text('class F1:\n    PRODUCES = ("f1",)\n')
    assert problems(tmp_path, changed.replace("val_accuracy", "val_f1")) == []
    (told,) = problems(tmp_path, changed)
    assert "val/f1" in told.what


@pytest.mark.seed("S0-21")
def test_nested_nodes_are_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "class Whole:\n    def __init__(self, backbone, heads): ...\n\n"
        "class Part:\n    def __init__(self, width: int = 3): ...\n"
    )
    model = (
        "  model:\n    type: net.py:Whole\n    backbone: {type: net.py:Part, widht: 4}\n"
        "    heads:\n    - {type: net.py:Part, kwargs: {width: wide}}\n    - {type: net.py:Prat}\n"
    )
    told = problems(tmp_path, re.sub(r"  model: .*\n  model_args.*\n", model, CONFIG))
    assert [one.mark.line for one in told] == [7, 9, 10]
    assert told[0].suggestion == "width"
    assert told[2].suggestion == "net.py:Part"
