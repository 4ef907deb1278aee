"""Damaged files do not end a run: they are replaced, written down once, and counted."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml

import cvtrainer
from cvtrainer.core.errors import UserError
from tests.jobs.test_kill_and_resume import final_state, kill_at_a_random_step, numbers, project
from tests.project import cvtrainer as command
from tests.project import write_pictures, write_project
from tests.trainer.test_state import assert_same

PER_CLASS = 34


def damage(folder: Path, count: int, seed: int) -> set[str]:
    """Damage that many files in different ways; their names."""
    files = sorted(folder.rglob("*.png"))
    chosen = random.Random(seed).sample(files, count)
    for number, file in enumerate(chosen):
        whole = file.read_bytes()
        ways = (whole[: len(whole) // 2], b"", b"no picture at all" * 20, whole[:40] + whole[90:])
        file.write_bytes(ways[number % len(ways)])
    return {str(file) for file in chosen}


def ledger(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "bad_samples.jsonl").read_text().splitlines()]


def set_split(config: Path, **words: object) -> None:
    tree = yaml.safe_load(config.read_text())
    loader = tree["stages"][0]["dataloader"]["train"]
    loader["dataloader_args"].update(words.pop("loader", {}))  # type: ignore[call-overload]
    loader.update(words)
    config.write_text(yaml.safe_dump(tree, sort_keys=False))


@pytest.mark.seed("S3-84", "S3-86")
@pytest.mark.parametrize(
    "loader", [{"num_workers": 0}, {"num_workers": 2, "workers": "processes"}, {"num_workers": 2}]
)
def test_the_ledger_lists_exactly_the_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: dict[str, object]
) -> None:
    config = write_project(tmp_path)
    write_pictures(tmp_path / "data" / "train", per_class=PER_CLASS)
    bad = damage(tmp_path / "data" / "train", 3, seed=1)
    set_split(config, max_bad="5%", loader=loader)
    monkeypatch.chdir(tmp_path)
    result = cvtrainer.train("apps/toy/train.yaml")
    found = ledger(result.run)
    assert sorted(str(tmp_path / str(line["file"])) for line in found) == sorted(bad)
    assert all(line["reason"] and line["kind"] for line in found)
    again = cvtrainer.train("apps/toy/train.yaml")
    assert again.metrics == result.metrics


@pytest.mark.seed("S3-84")
def test_too_many_end_the_run_with_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path)
    write_pictures(tmp_path / "data" / "train", per_class=PER_CLASS)
    bad = damage(tmp_path / "data" / "train", 4, seed=2)
    monkeypatch.chdir(tmp_path)
    done = command("train", "--config", "apps/toy/train.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "max_bad" in done.stderr
    assert any(file.removeprefix(f"{tmp_path}/") in done.stderr for file in bad)


@pytest.mark.seed("S3-84")
def test_nothing_usable_is_one_line_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_project(tmp_path)
    damage(tmp_path / "data" / "train", 18, seed=3)
    set_split(config, max_bad="100%")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="usable"):
        cvtrainer.train("apps/toy/train.yaml")


@pytest.mark.long
def test_damaged_data_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
        config = project(root, 2)
        write_pictures(root / "data" / "train", per_class=PER_CLASS)
        damage(root / "data" / "train", 3, seed=4)
        set_split(config, max_bad="5%")
    monkeypatch.chdir(whole)
    cvtrainer.train("apps/toy/train.yaml")
    kill_at_a_random_step(broken, random.Random(5))
    monkeypatch.chdir(broken)
    cvtrainer.train("apps/toy/train.yaml", resume="auto")
    assert_same(final_state(whole), final_state(broken))
    assert numbers(whole) == numbers(broken)
    assert damaged_in(whole) == damaged_in(broken)
    assert len(damaged_in(whole)) == 3


def damaged_in(root: Path) -> list[str]:
    return sorted(str(line["file"]) for line in ledger(next(root.glob("runs/toy/train_*"))))
