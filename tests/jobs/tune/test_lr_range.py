"""The learning rate range test: the real step, the rule of the suggestion, nothing left behind."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.hooks import AccumulateHook
from cvtrainer.jobs.tune.curve import Watch, longest_fall, smoothed, suggest
from cvtrainer.jobs.tune.lr_range import Ramp, _RampHook, lr_range
from cvtrainer.trainer import Trainer
from tests.engine.test_step import Duel
from tests.project import change, enter_project
from tests.project import cvtrainer as command
from tests.toy import BatchList, batches, toy_trainer

SPY = '''
from cvtrainer.hooks.base import BaseHook

SEEN = {"rates": [], "hooks": [], "written": []}


class StepSpyHook(BaseHook):
    """Changes nothing, but stands where a hook could."""

    def before_optimize(self, stage):
        SEEN["hooks"] = list(stage.trainer.hooks)
        groups = stage.trainer.optimizer.param_groups
        SEEN["rates"].append([group["lr"] for group in groups])


class LineHook(BaseHook):
    """Would write something."""

    def after_step(self, stage):
        SEEN["written"].append(stage.step)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory with two hooks of its own."""
    return enter_project(tmp_path, monkeypatch, spy=SPY)


def files_in(folder: Path) -> set[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if "__pycache__" not in name}


def falling_curve(fastest: float, count: int = 200) -> tuple[list[float], list[float]]:
    """A loss that falls fastest, per decade, at that rate, and rises behind it."""
    rates = np.logspace(-6, 1, count)
    depth = 1 / (1 + np.exp(-6 * (np.log10(rates) - math.log10(fastest))))
    losses = 2.0 - 1.5 * depth + np.where(rates > 50 * fastest, rates / fastest / 50, 0)
    return rates.tolist(), losses.tolist()


@pytest.mark.parametrize("fastest", [1e-4, 3e-3])
def test_the_steepest_descent_is_where_the_loss_falls_fastest(fastest: float) -> None:
    rates, losses = falling_curve(fastest)
    found = suggest(rates, smoothed(losses), by_decade=True)
    assert found.steepest is not None
    assert found.valley is not None
    assert abs(math.log10(found.steepest / fastest)) < 0.2
    assert fastest / 10 < found.valley < 10 * fastest


def test_a_fall_after_the_curve_has_turned_up_is_luck() -> None:
    rates, losses = falling_curve(1e-3)
    end = next(place for place, rate in enumerate(rates) if rate > 2e-2)
    rise = [losses[end] + step / 20 for step in range(15)]
    fall = np.linspace(rise[-1], 0.1, len(rates) - end - 15).tolist()
    found = suggest(rates, smoothed([*losses[:end], *rise, *fall]), by_decade=True)
    assert found.steepest is not None
    assert found.valley is not None
    assert abs(math.log10(found.steepest / 1e-3)) < 0.3
    assert found.valley < 2e-2


def test_the_end_of_the_test_does_not_lift_the_curve_before_it() -> None:
    quiet = smoothed([2.0] * 40)
    assert smoothed([2.0] * 40 + [1e6] * 3)[:40] == pytest.approx(quiet)


def test_a_curve_that_never_falls_suggests_nothing() -> None:
    rates = np.logspace(-6, 1, 100).tolist()
    noise = np.random.default_rng(0).normal(0, 0.01, 100)
    for losses in ((2 + noise).tolist(), (2 + np.arange(100) / 10).tolist(), [2.0] * 100):
        assert suggest(rates, smoothed(losses), by_decade=True).steepest is None
    assert suggest([0.1, 1.0], [2.0, 1.0], by_decade=True).valley is None


def test_the_average_is_not_drawn_to_zero_at_either_end() -> None:
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([math.nan]) == [math.inf]
    assert max(smoothed([1.0, 1.0, math.inf, 1e9])) < 2.0
    assert smoothed([]) == []


def test_the_longest_falling_series_may_have_gaps() -> None:
    assert longest_fall([5, 4, 9, 3, 8, 2, 7]) == [0, 1, 3, 5]
    assert longest_fall([1, 2, 3]) == [2]


def test_divergence_is_no_number_or_four_times_the_lowest_and_above_the_first() -> None:
    watch = Watch()
    assert not any(watch.diverged(value) for value in (2.0, 0.4, 1.9))
    assert watch.diverged(2.1)
    assert Watch().diverged(math.nan)
    negative = Watch()
    assert not any(negative.diverged(value) for value in (-1.0, -5.0, -2.0))


@pytest.mark.parametrize(
    "ramp", [{"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"steps": 3}, {"mode": "curved"}]
)
def test_a_ramp_that_makes_no_sense_is_an_input_error(ramp: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Ramp(**ramp)  # type: ignore[arg-type]


def test_the_step_is_the_real_one_and_nothing_of_the_project_changes(toy: Path) -> None:
    hooks = [
        {"type": "FreezeHook", "kwargs": {"parts": ["backbone"], "until": 1}},
        {"type": "ClipGradientsHook", "kwargs": {"max_norm": 1.0}},
        {"type": "CheckpointHook", "kwargs": {"save_dir": "kept"}},
        {"type": "LRSchedulerHook", "kwargs": {"scheduler_type": "cosine", "by": "step"}},
        {"type": "EarlyStoppingHook", "kwargs": {"metric_name": "val_loss", "patience": 1}},
        "NanGuardHook",
        "apps.toy.spy.StepSpyHook",
        "apps.toy.spy.LineHook",
    ]
    optimizer = {"type": "SGD", "kwargs": {"lr": 0.01}, "layerwise": {"head": 0.04}}
    change(toy, hooks=hooks, optimizer=optimizer, logger=["console", "file"])
    before = {name: (Path(name)).read_bytes() for name in files_in(Path())}
    found = lr_range(toy, ramp=Ramp(1e-4, 1e-1, 12), folder="out", say=lambda text: None)
    from apps.toy.spy import SEEN  # type: ignore[import-not-found]

    assert SEEN["hooks"][:2] == ["freeze", "clip_gradients"]
    assert set(SEEN["hooks"]) == {"freeze", "clip_gradients", "step_spy", "lr_range"}
    assert SEEN["written"] == []
    wanted = [Ramp(1e-4, 1e-1, 12).rate(step) for step in range(12)]
    rates = {round(head / rest, 6) for head, rest in SEEN["rates"]}
    assert rates == {4.0}
    assert [rest for _, rest in SEEN["rates"]] == pytest.approx(wanted) == found.rates
    after = {name: (Path(name)).read_bytes() for name in files_in(Path())}
    assert set(after) - set(before) == {"out/lr_range.csv", "out/lr_range.png"}
    assert {name: after[name] for name in before} == before


def test_the_table_and_the_picture_show_the_same_test(toy: Path) -> None:
    found = lr_range(toy, ramp=Ramp(1e-3, 1.0, 15), folder="out", say=lambda text: None)
    rows = list(csv.DictReader(Path("out/lr_range.csv").read_text().splitlines()))
    assert [float(row["lr"]) for row in rows] == pytest.approx(found.rates, rel=1e-5)
    assert [float(row["loss"]) for row in rows] == pytest.approx(found.losses, rel=1e-5)
    with Image.open("out/lr_range.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 16)
    assert colours is not None
    assert {(28, 92, 186), (176, 188, 206)} <= {colour for _, colour in colours}


def test_the_override_gives_every_group_its_share(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = {"type": "AdamW", "kwargs": {"lr": 0.01}, "layerwise": {"backbone": 0.001}}
    change(toy, optimizer=optimizer)
    found = lr_range(toy, ramp=Ramp(1e-4, 1.0, 20), folder="out", say=lambda text: None)
    assert found.steepest is not None
    stage = compile_config(toy, found.overrides).resolved["stages"][0]
    rate = stage["optimizer"]["kwargs"]["lr"]
    assert rate == pytest.approx(found.steepest, rel=0.01)
    assert stage["optimizer"]["layerwise"]["backbone"] == pytest.approx(rate / 10, rel=0.01)


def test_accumulated_batches_make_one_point(toy: Path) -> None:
    change(toy, hooks=[{"type": "AccumulateHook", "kwargs": {"steps": 2}}])
    found = lr_range(toy, ramp=Ramp(1e-4, 1e-2, 10), folder="out", say=lambda text: None)
    assert len(found.rates) == 10
    hook = _RampHook(Ramp(1e-9, 1e-8, 10), None)
    trainer = toy_trainer([AccumulateHook(2), hook], dropout=0.0, train=BatchList(batches(4)))
    trainer.train(1)
    first, second = hook.losses
    singles = _RampHook(Ramp(1e-9, 1e-8, 10), None)
    toy_trainer([singles], dropout=0.0, train=BatchList(batches(4))).train(1)
    assert first == pytest.approx(sum(singles.losses[:2]) / 2, rel=1e-4)
    assert second == pytest.approx(sum(singles.losses[2:]) / 2, rel=1e-4)


def test_a_loss_that_explodes_ends_the_test(toy: Path) -> None:
    change(toy, optimizer={"type": "SGD", "kwargs": {"lr": 0.1}})
    found = lr_range(toy, ramp=Ramp(1e-3, 1e6, 60), folder="out", say=lambda text: None)
    assert found.diverged
    assert len(found.rates) < 60


def test_one_update_of_several_is_raised_alone() -> None:
    task = Duel()
    optimizers = {
        name: torch.optim.SGD(task.networks[network].parameters(), lr=0.01)
        for name, network in (("judge", "discriminator"), ("make", "generator"))
    }
    ramp = Ramp(1e-4, 1e-2, 10)
    hook = _RampHook(ramp, "make")
    trainer = Trainer(task, None, optimizers, {"train": BatchList(batches(4))}, hooks=[hook])
    trainer.train(10)
    assert len(hook.rates) == 10
    assert trainer.clock.step in (19, 20)
    assert optimizers["judge"].param_groups[0]["lr"] == 0.01
    assert optimizers["make"].param_groups[0]["lr"] == pytest.approx(1e-2)
    with pytest.raises(UserError, match="there is no update 'paint'"):
        Trainer(
            task, None, optimizers, {"train": batches(2)}, hooks=[_RampHook(ramp, "paint")]
        ).train(1)


def test_the_command_prints_the_suggestion_and_its_override(toy: Path, tmp_path: Path) -> None:
    words = ["tune", "lr", "--config", str(toy), "--steps", "20", "--min", "1e-4", "--max", "1"]
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "steepest descent: " in done.stdout
    assert "to use it: stages.train.optimizer.lr=" in done.stdout
    (folder,) = (tmp_path / "runs" / "toy").iterdir()
    assert {path.name for path in folder.iterdir()} == {"lr_range.csv", "lr_range.png"}
    done = command(*words, "--stage", "trian", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean train?" in done.stderr
