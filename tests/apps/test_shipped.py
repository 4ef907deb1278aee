"""The shipped apps run: from their configs alone, with no download and no script."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from cvtrainer.core.compile import compile_config
from cvtrainer.core.compose import compose
from cvtrainer.core.load import load_file
from cvtrainer.data.picture_world import write_tiny_cifar10
from cvtrainer.data.transforms import Transforms
from tests.architecture.source_tree import ROOT
from tests.project import cvtrainer


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A working folder with the apps and the shared templates, and nothing else."""
    for folder in ("apps", "configs"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("logs", "__pycache__")
        )
    return tmp_path


def run_folder(output: str, cwd: Path) -> Path:
    """The run folder that the last line of `train` names."""
    return cwd / output.strip().splitlines()[-1].removeprefix("run folder: ")


@pytest.mark.seed("S0-05", "S0-06", "S0-09", "S0-13")
def test_the_cifar10_demo_trains_and_evaluates(checkout: Path) -> None:
    """train.yaml leaves log, event file and checkpoints; the bare eval.yaml measures the best."""
    done = cvtrainer(
        *("train", "--config", "apps/cifar10_demo/train.yaml", "epochs=2"),
        "hooks.checkpoint.save_freq=1",
        cwd=checkout,
    )
    assert done.returncode == 0, done.stderr
    assert (checkout / "apps" / "cifar10_demo" / "logs" / "train.log").read_text()
    assert list(run_folder(done.stdout, checkout).rglob("events.out.tfevents.*"))
    saved = checkout / "checkpoints"
    assert (saved / "checkpoint_epoch_2.pth").is_file()

    best = saved / "best_model.pth"
    before = best.read_bytes()
    measured = cvtrainer("eval", "--config", "apps/cifar10_demo/eval.yaml", cwd=checkout)
    assert measured.returncode == 0, measured.stderr
    for name in ("val/loss", "val/accuracy", "val/accuracy_top5"):
        assert name in measured.stdout
    assert best.read_bytes() == before


@pytest.mark.seed("S0-09")
def test_the_eval_config_works_as_a_list_of_stages(checkout: Path) -> None:
    """The same stage below `stages:` compiles to the same stage."""
    bare = checkout / "apps" / "cifar10_demo" / "eval.yaml"
    stage = yaml.safe_load(bare.read_text(encoding="utf-8"))
    assert {"checkpoint", "eval_split"} <= set(stage)
    listed = bare.with_name("listed.yaml")
    listed.write_text(yaml.safe_dump({"stages": [stage]}), encoding="utf-8")
    ours, theirs = (compile_config(path).resolved["stages"] for path in (bare, listed))
    assert ours == theirs


@pytest.mark.seed("S0-13")
def test_the_cifar10_demo_reads_files_of_that_format(checkout: Path) -> None:
    """With `data_path` the pictures come from disk."""
    write_tiny_cifar10(checkout / "data", train=60, test=20)
    done = cvtrainer(
        *("train", "--config", "apps/cifar10_demo/train.yaml", "epochs=1"),
        "vars.data_path=data",
        cwd=checkout,
    )
    assert done.returncode == 0, done.stderr
    assert "60" in done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.seed("S0-07", "S0-08")
def test_the_commands_of_document_000(checkout: Path) -> None:
    """Train, resume from epoch 10, evaluate the best: the command lines as they stand there."""
    config = ("--config", "apps/cifar10_demo/train.yaml")
    ten = cvtrainer("train", *config, "epochs=10", cwd=checkout)
    assert ten.returncode == 0, ten.stderr
    resume = ("--resume", "checkpoints/checkpoint_epoch_10.pth")
    eleven = cvtrainer("train", *config, *resume, "epochs=11", cwd=checkout)
    assert eleven.returncode == 0, eleven.stderr
    run = run_folder(eleven.stdout, checkout)
    assert run == run_folder(ten.stdout, checkout)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(record["epoch"] for record in records) == 11
    measured = cvtrainer(
        *("eval", "--config", "apps/cifar10_demo/eval.yaml"),
        *("--checkpoint", "checkpoints/best_model.pth"),
        cwd=checkout,
    )
    assert measured.returncode == 0, measured.stderr
    best = torch.load(checkout / "checkpoints" / "best_model.pth", weights_only=True)
    wanted = f"{best['metrics']['val/accuracy']:.4f}"[:5]
    assert wanted in measured.stdout


@pytest.mark.long
def test_the_cifar10_demo_learns_its_generated_pictures(checkout: Path) -> None:
    """As it is shipped, without a download; chance is one in ten."""
    done = cvtrainer("train", "--config", "apps/cifar10_demo/train.yaml", cwd=checkout, timeout=300)
    assert done.returncode == 0, done.stderr
    best = torch.load(checkout / "checkpoints" / "best_model.pth", weights_only=True)
    assert best["metrics"]["val/accuracy"] >= 0.6


@pytest.mark.long
def test_the_digits_demo_reaches_its_accuracy(checkout: Path) -> None:
    """At least 97 % of the held-out digits, as the front page promises."""
    done = cvtrainer(
        "train", "--config", "apps/digits/train.yaml", "dir=runs/demo", cwd=checkout, timeout=300
    )
    assert done.returncode == 0, done.stderr
    best = torch.load(checkout / "runs/demo/checkpoints/best_model.pth", weights_only=True)
    assert best["metrics"]["val/accuracy"] >= 0.97
    measured = cvtrainer(
        *("eval", "--config", "apps/digits/eval.yaml"),
        *("--checkpoint", "runs/demo/checkpoints/best_model.pth"),
        cwd=checkout,
    )
    assert measured.returncode == 0, measured.stderr
    assert "val/accuracy_top2" in measured.stdout


@pytest.mark.seed("S0-66")
@pytest.mark.parametrize("name", ["plain", "aug_light", "aug_medium", "aug_heavy"])
@pytest.mark.parametrize("backend", ["Albumentations", "Torchvision"])
def test_shared_transforms_run_on_both_back_ends(name: str, backend: str) -> None:
    """Each shared list gives a picture of 224 x 224 with either library."""
    import numpy as np

    from cvtrainer.data.randomness import DrawKey

    path = ROOT / "configs" / "common" / "transforms.yaml"
    block = compose(load_file(path), path).data[name]
    transforms = Transforms(backend, block["transforms"])
    picture = np.random.default_rng(0).integers(0, 255, (300, 260, 3), dtype=np.uint8)
    sample = {"x": picture, "target": {"class_id": 0}, "meta": {"index": 0}}
    assert transforms(sample, DrawKey(0, 1, 0))["x"].shape == (224, 224, 3)


@pytest.mark.seed("S0-66")
def test_shared_tensorizers_make_batches_of_the_demo(checkout: Path) -> None:
    """The demo's splits take their tensorizer from configs/common."""
    resolved = compile_config(checkout / "apps" / "cifar10_demo" / "train.yaml").resolved
    for split in resolved["stages"][0]["dataloader"].values():
        mapping = split["tensorizer"]["kwargs"]["mapping"]
        assert mapping["x"]["kwargs"]["normalize"]["mean"] == [0.4914, 0.4822, 0.4465]
        assert mapping["class_id"]["type"].endswith(":IndexTensorizer")
