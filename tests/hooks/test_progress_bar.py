"""The bar: what it shows, when it draws, what it costs, and who must not see it."""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import World
from cvtrainer.hooks import ProgressBarHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from tests.toy import batches, toy_trainer


class Terminal(io.StringIO):
    """Standard error as a terminal shows it."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put one in place, during the test: pytest sets its own stream when the test begins."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return shown


def trainer_with(hook: ProgressBarHook, **parts: Any) -> Any:
    return toy_trainer([hook], meters=[LossMeter(), AccuracyMeter()], **parts)


@pytest.mark.seed("S0-95")
def test_without_a_terminal_each_phase_of_each_epoch_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer_with(ProgressBarHook()).train(2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split("  ")[0].split() for line in lines] == [
        ["epoch", "1/2", "train"],
        ["epoch", "1/2", "val"],
        ["epoch", "2/2", "train"],
        ["epoch", "2/2", "val"],
    ]
    for line, count in zip(lines, ["4/4", "2/2"] * 2, strict=True):
        assert count in line
        assert "loss " in line
        assert "accuracy " in line


@pytest.mark.seed("S0-95")
def test_on_a_terminal_finished_bars_stay_with_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = terminal(monkeypatch)
    trainer = trainer_with(ProgressBarHook())
    trainer.train(1)
    lines = shown.getvalue().splitlines()
    for phase, count in (("train", "4/4"), ("val", "2/2")):
        bars = [line for line in lines if f"1/1 {phase}" in line and count in line]
        assert bars, phase
        assert "loss " in bars[-1]
        assert "accuracy " in bars[-1]
    assert sys.stderr is shown


@pytest.mark.seed("S0-95")
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_other_ranks_say_nothing(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    trainer = trainer_with(ProgressBarHook())
    trainer.world = World(rank=1)
    trainer.train(1)
    assert shown.getvalue() == ""


def test_without_a_loss_meter_the_loss_is_shown_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    toy_trainer([ProgressBarHook()], meters=[AccuracyMeter()]).train(1)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert all("loss " in line for line in lines)


def test_the_bar_goes_on_after_an_evaluation_within_the_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = terminal(monkeypatch)
    from cvtrainer.engine.stage import StageSettings

    settings = StageSettings(eval_epochs=None, eval_steps=2)
    trainer_with(ProgressBarHook(), settings=settings).train(1)
    lines = [line for line in shown.getvalue().splitlines() if "1/1 train" in line]
    assert "4/4" in lines[-1]


class Counting(ProgressBarHook):
    """Counts how often it draws."""

    drawn = 0

    def _draw(self, stage: Any) -> None:
        self.drawn += 1
        super()._draw(stage)


def test_it_draws_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    hook = Counting()
    trainer = trainer_with(hook, train=batches(300))
    began = time.monotonic()
    trainer.train(1)
    assert shown.getvalue()
    assert hook.drawn <= (time.monotonic() - began) * 10 + 1


def test_a_step_at_which_nothing_is_due_costs_next_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal(monkeypatch)
    hook = ProgressBarHook()
    trainer = trainer_with(hook)
    hook.before_train(trainer.view)
    hook._due = time.monotonic() + 1000
    steps, best = 20_000, float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(steps):
            hook.after_step(trainer.view)
        best = min(best, time.perf_counter() - began)
    hook.after_train(trainer.view)
    assert best / steps < 3e-6


@pytest.mark.parametrize("refresh_hz", [0, -1, 11])
def test_the_refresh_rate_is_checked(refresh_hz: float) -> None:
    with pytest.raises(UserError, match="refresh_hz"):
        ProgressBarHook(refresh_hz)
