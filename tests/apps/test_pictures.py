"""The shipped apps that make pictures: a code book, and two networks against each other."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvtrainer
from tests.architecture.source_tree import ROOT


@pytest.mark.long
@pytest.mark.parametrize(
    ("app", "names"),
    [
        ("picture_codes", {"val/psnr", "val/ssim", "val/perplexity", "val/loss_perceptual"}),
        ("picture_duel", {"val/feature_distance", "val/loss_judge", "val/loss_make"}),
    ],
)
def test_its_config_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str, names: set[str]
) -> None:
    """Two steps of it, on few pictures, with all that it measures."""
    monkeypatch.chdir(ROOT)
    few = {
        f"dataloader.{split}.dataset.limit": count for split, count in (("train", 64), ("val", 12))
    }
    overrides = ["max_steps=2", *(f"{key}={value}" for key, value in few.items())]
    result = cvtrainer.train(
        f"apps/{app}/train.yaml", overrides=overrides, run_dir=tmp_path / "run"
    )
    assert names <= set(result.metrics["train"])
    assert result.checkpoints
