"""The job on real configs: faults that were planted are found and named, clean ones are equal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.verify_resume import Verdict, job
from tests.attempts import Attempts
from tests.jobs.verify_resume.plants import CONFIG, PARTS
from tests.project import cvtrainer as command

HERE = "apps.toy.parts"
WORKERS = {"batch_size": 4, "num_workers": 2, "workers": "processes"}


def write(root: Path, *, train: dict[str, Any] | None = None, **stage: Any) -> Path:
    """The clean config with these parts in place of its own."""
    app = root / "apps" / "toy"
    app.mkdir(parents=True)
    (app / "parts.py").write_text(PARTS)
    tree = yaml.safe_load(CONFIG)
    tree["stages"][0].update(stage)
    tree["stages"][0]["dataloader"]["train"].update(train or {})
    (app / "train.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return app / "train.yaml"


@pytest.fixture(scope="module")
def attempts() -> Iterator[Attempts]:
    with Attempts() as started:
        yield started


@pytest.fixture
def quick(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are forked from a process that has imported the library already."""
    run = lambda orders, output: attempts.verify(Path.cwd(), orders, output)  # noqa: E731
    monkeypatch.setattr(job, "run_child", run)


def verify(config: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Verdict:
    monkeypatch.chdir(config.parents[2])
    return cvtrainer.verify_resume(config, **{"kills": 1, **more})


def dataset(name: str, **loader: Any) -> dict[str, Any]:
    options = loader or {"batch_size": 4, "shuffle": True}
    return {"train": {"dataset": {"type": f"{HERE}.{name}"}, "dataloader_args": options}}


JITTER = {"backend": "Albumentations", "transforms": [f"{HERE}.Jitter"]}
PLANTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "hook": ({"hooks": [f"{HERE}.HiddenHook"]}, "hook hidden (HiddenHook)", "seen is 14"),
    "hook that forgets": (
        {"hooks": [f"{HERE}.ForgetfulHook"]},
        "hook forgetful (ForgetfulHook)",
        "does not take back",
    ),
    "hook that begins anew": (
        {"hooks": [f"{HERE}.AnewHook"]},
        "hook anew (AnewHook)",
        "before_train",
    ),
    "model": ({"model": f"{HERE}.HiddenNet"}, "network model.warming (Warming)", "steps is 14"),
    "loss": ({"criterion": f"{HERE}.MovingLoss"}, "criterion (MovingLoss)", "mean is "),
    "optimizer": ({"optimizer": f"{HERE}.Forgetting"}, "optimizer main (Forgetting)", "made is 14"),
    "own generator": (
        dataset("OwnGenerator"),
        "dataloader.train.dataset (OwnGenerator)",
        "rng is Generator",
    ),
    "generator of a module": (
        dataset("ModuleGenerator"),
        "dataloader.train.dataset (ModuleGenerator)",
        "depends on what it gave before",
    ),
    "drawn once from a global generator": (
        dataset("DrawnAtFirst"),
        "dataloader.train.dataset (DrawnAtFirst)",
        "it draws from numpy's global generator",
    ),
    "transform": (
        {"train": {"transforms": JITTER}},
        "dataloader.train.transforms (Jitter)",
        "depends on what it gave before",
    ),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.long
@pytest.mark.seed("S1-56", "S2-14", "S3-68")
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found_and_its_owner_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str
) -> None:
    parts, owner, reason = PLANTS[plant]
    verdict = verify(write(tmp_path, **parts), monkeypatch)
    assert verdict.deterministic
    (found,) = verdict.differences
    assert found.owner == owner
    assert reason in found.reason
    assert found.todo


@pytest.mark.usefixtures("quick")
@pytest.mark.long
@pytest.mark.parametrize(
    ("parts", "owner", "reason"),
    [
        (dataset("FreshGenerator"), "dataloader.train.dataset (FreshGenerator)", "each time"),
        (
            dataset("Unseeded", **WORKERS),
            "dataloader.train.dataset (Unseeded)",
            "torch's global generator",
        ),
    ],
)
def test_what_two_straight_runs_do_differently_is_told_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: dict[str, Any],
    owner: str,
    reason: str,
) -> None:
    verdict = verify(write(tmp_path, **parts), monkeypatch)
    assert not verdict.deterministic
    assert not verdict.kills
    (found,) = verdict.differences
    assert found.owner == owner
    assert reason in found.reason
    assert "two straight runs differ already" in "\n".join(verdict.lines())


@pytest.mark.usefixtures("quick")
@pytest.mark.long
@pytest.mark.seed("S0-99")
def test_the_digits_are_equal_and_their_folder_is_not_touched(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(root))
    config = root / "apps" / "digits" / "train.yaml"
    verdict = cvtrainer.verify_resume(config, overrides=["hooks.checkpoint.save_dir=mine"])
    assert verdict.equal, verdict.lines()
    assert [(one.stage, one.batches) for one in verdict.lengths] == [("train", 24)]
    assert len(verdict.kills) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.long
def test_several_batches_per_step_several_stages_and_workers_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = [{"type": "accumulate", "kwargs": {"steps": 3}}, "ema"]
    config = write(tmp_path, **dataset("Rows", shuffle=True, **WORKERS), hooks=hooks)
    tree = yaml.safe_load(config.read_text())
    second = {**tree["stages"][0], "name": "second", "init_from": "previous"}
    tree["stages"].append(second)
    config.write_text(yaml.safe_dump(tree, sort_keys=False))
    verdict = verify(config, monkeypatch, kills=3, steps=4)
    assert verdict.equal, verdict.lines()
    assert any("in the middle of a step" in kill for kill in verdict.kills)
    assert [one.stage for one in verdict.lengths] == ["train", "second"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_command_line_tells_in_words(tmp_path: Path) -> None:
    config = write(tmp_path)
    words = ["verify-resume", "--config", str(config), "--kills", "1", "--max_steps", "4"]
    clean = command(*words, cwd=tmp_path, timeout=500)
    assert clean.returncode == 0, clean.stderr
    assert "equal to the last bit" in clean.stdout
    assert "killed and resumed: after batch" in clean.stdout
    assert "straight run one" in clean.stderr


@pytest.mark.usefixtures("quick")
@pytest.mark.long
def test_the_command_line_tells_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify-resume", "--kills", "1", "--steps", "4", "--json"]
    monkeypatch.chdir(tmp_path)
    config = write(tmp_path, model=f"{HERE}.HiddenNet")
    assert main([*words, "--config", str(config)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] is False
    assert found["differences"][0]["owner"] == "network model.warming (Warming)"


def test_a_config_that_does_not_fit_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path)
    with pytest.raises(UserError, match="kills and steps must be 1 or more"):
        verify(config, monkeypatch, kills=0)
    with pytest.raises(UserError, match=r"optimizer|weight_dacay"):
        verify(config, monkeypatch, overrides=["optimizer.weight_dacay=1"])
