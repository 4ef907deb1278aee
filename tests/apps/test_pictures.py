"""The shipped apps that make pictures or learn from a teacher, killed in mid-epoch and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvtrainer
from benchmarks.recipes import copy_of_apps


@pytest.mark.long
@pytest.mark.parametrize("app", ["picture_codes", "picture_duel", "picture_pupil"])
def test_killed_in_mid_epoch_it_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str
) -> None:
    """With code book, latents, averages and teachers; few pictures, every tensor compared."""
    monkeypatch.chdir(copy_of_apps(tmp_path))
    few = [f"dataloader.{split}.dataset.limit={n}" for split, n in (("train", 128), ("val", 12))]
    small = [*few, "dataloader.train.dataloader_args.batch_size=16"]
    verdict = cvtrainer.verify_resume(f"apps/{app}/train.yaml", overrides=small, kills=1, steps=10)
    assert verdict.deterministic
    assert verdict.equal, "\n".join(verdict.lines())
    assert verdict.kills
