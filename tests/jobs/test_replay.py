"""A failed run is run again to the step that went wrong, and the place is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtrainer import train
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.engine.capsule import read_capsule
from cvtrainer.jobs.replay import Report, replay
from tests.jobs.failing import TRAP, failed_run, write_failing
from tests.project import cvtrainer


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replayed(root: Path, way: str = "none", **words: Any) -> tuple[Report, dict[str, Any]]:
    run, _ = failed_run(root, write_failing(root, way, **words))
    path, _ = read_capsule(run)
    before = sorted(str(one) for one in run.rglob("*") if one.is_file())
    report = replay(run)
    after = sorted(str(one) for one in run.rglob("*") if one.is_file())
    assert after == sorted([*before, *([str(path.with_suffix(".txt"))] if report.found else [])])
    return report, json.loads(path.read_text())


def test_a_forward_pass_that_overflows(root: Path) -> None:
    report, capsule = replayed(root, "forward")
    assert report.found
    assert report.lines[1] == (
        f"step {capsule['step']} (epoch 1, batch {capsule['batch']}): "
        "an infinite value first appears in the output of trap (Trap)"
    )
    text = "\n".join(report.lines)
    assert "input (float32, 4 x 4): -" in text
    assert f"in the rows of samples: {TRAP} data.npz[{TRAP}]\n" in text
    assert "next: " in text
    saved = capsule["step"] - 1 - (capsule["step"] - 1) % 4
    assert f"again from step {saved} " in report.lines[0]
    assert capsule["checkpoint"].endswith(f"checkpoint_step_{saved}.pth")


def test_only_the_backward_pass_goes_wrong(root: Path) -> None:
    report, capsule = replayed(root, "backward")
    assert f"step {capsule['step'] - 1} (epoch 1" in report.lines[1]  # the weights fall with it
    assert report.lines[1].endswith("first appears in the gradient of trap (Trap)")
    text = "\n".join(report.lines)
    assert "what comes back to it is the gradient (float32, 4 x 4): -" in text
    assert "clip gradients" in text


def test_the_optimizer_goes_wrong_before_any_checkpoint(root: Path) -> None:
    optimizer = {"type": "Adam", "kwargs": {"lr": 0.01, "eps": 0.0}}
    report, capsule = replayed(root, "optimizer", optimizer=optimizer)
    assert capsule["checkpoint"] is None
    assert report.lines[0].startswith("stage train, again from its beginning: ")
    assert report.lines[1].startswith(
        "step 1 (epoch 1, batch 1): NaN first appears in the weight of "
    )
    assert report.lines[1].endswith(" (Adam)")
    text = "\n".join(report.lines)
    assert "its gradient was fine: the step of Adam at lr 0.01" in text
    assert "its exp_avg_sq" in text


def test_the_batch_itself_holds_it(root: Path) -> None:
    spill = {"type": "apps/toy/parts.py:Spill", "kwargs": {"sample": 23}}
    report, _ = replayed(root, hooks=[{"type": "nan_guard"}, spill])
    assert "NaN first appears in the batch field of x" in report.lines[1]
    text = "\n".join(report.lines)
    assert "in the rows of samples: 23 data.npz[23]\n" in text
    assert "cvtrainer data doctor" in text


@pytest.mark.parametrize(
    "hooks",
    [
        [{"type": "ema"}, {"type": "accumulate", "kwargs": {"steps": 3}}],
        [{"type": "amp", "kwargs": {"dtype": "bfloat16"}}, {"type": "swa"}],
        [{"type": "clip_gradients", "kwargs": {"max_norm": 1.0}}, {"type": "compile"}],
    ],
    ids=["ema, accumulation", "amp, swa", "clipping, compiled"],
)
def test_beside_other_techniques(root: Path, hooks: list[dict[str, Any]]) -> None:
    guard = {"type": "nan_guard"}
    save = {"type": "checkpoint", "kwargs": {"save_freq": 0, "save_steps": 1}}
    report, capsule = replayed(root, "forward", hooks=[guard, save, *hooks])
    assert "an infinite value first appears in the output of trap (Trap)" in report.lines[1]
    assert f"(epoch 1, batch {capsule['batch']})" in report.lines[1]
    assert report.lines[1].startswith(f"step {capsule['step']} ")


def test_an_exception_names_the_layer_and_keeps_its_traceback(root: Path) -> None:
    config = write_failing(root, "error")
    done = cvtrainer("train", str(config), cwd=root)
    assert done.returncode == 1
    assert "`cvtrainer replay runs/" in done.stderr
    (run,) = (root / "runs").glob("*/*_*")
    again = cvtrainer("replay", str(run), cwd=root)
    assert again.returncode == 0, again.stderr
    assert "RuntimeError is raised in trap (Trap)" in again.stdout
    assert "parts.py" in again.stdout
    assert "the user's own error" in again.stdout


def test_a_failure_that_does_not_come_back_is_said(root: Path) -> None:
    config = write_failing(root, "forward")
    run, _ = failed_run(root, config)
    saved = run / "config.yaml"
    saved.write_text(saved.read_text().replace("way: forward", "way: none"))
    report = replay(run)
    assert not report.found
    assert "it did not happen again up to step" in report.lines[-1]


def test_without_the_checkpoint_an_older_one_or_the_beginning_will_do(root: Path) -> None:
    run, told = failed_run(root, write_failing(root, "forward"))
    assert f"Run `cvtrainer replay {run.relative_to(root)}`" in told
    path, capsule = read_capsule(run)
    first = replay(path).lines
    assert capsule.checkpoint is not None
    Path(capsule.checkpoint).unlink()
    again = replay(path).lines
    assert again[0] != first[0]
    assert again[1:] == first[1:]


def test_what_is_no_capsule_is_one_line(root: Path) -> None:
    with pytest.raises(UserError, match="no crash capsule"):
        replay(root)
    (root / "odd.json").write_text("{}")
    with pytest.raises(UserError, match="no crash capsule"):
        replay(root / "odd.json")


def test_a_resumed_run_is_replayed_as_it_was_resumed(root: Path) -> None:
    """With rates of the config again, from the checkpoint of an earlier start."""
    config = write_failing(root, "none")
    train(str(config), overrides=["epochs=1"])
    config.write_text(config.read_text().replace("way: none", "way: forward"))
    words = ["epochs=2", "stages.train.optimizer.kwargs.lr=0.02", "resume_lr=initial"]
    words += ["hooks.checkpoint.enabled=false"]
    with pytest.raises(RunFailed):
        train(str(config), overrides=words, resume="auto")
    (run,) = (root / "runs").glob("*/*_*")
    _, capsule = read_capsule(run)
    assert capsule.resume_lr == "initial"
    assert capsule.epoch == 2
    report = replay(run)
    assert report.found
    assert f"step {capsule.step} (epoch 2, " in report.lines[1]
    assert "output of trap (Trap)" in report.lines[1]


@pytest.mark.long
def test_as_many_processes_as_there_were(root: Path) -> None:
    """The process whose part of the batch springs the trap tells it."""
    config = write_failing(root, "forward", ddp={"find_unused_parameters": True})
    done = cvtrainer("train", str(config), "--num_gpus", "2", cwd=root, timeout=240)
    assert done.returncode == 1
    (run,) = (root / "runs").glob("*/*_*")
    _, capsule = read_capsule(run)
    assert capsule.world_size == 2
    again = cvtrainer("replay", str(run), cwd=root, timeout=240)
    assert again.returncode == 0, again.stderr
    assert "an infinite value first appears in the output of trap (Trap)" in again.stdout
    assert f"samples: {TRAP} data.npz[{TRAP}]" in again.stdout
