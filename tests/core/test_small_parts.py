"""Names, seeds, durations, errors and positions."""

from __future__ import annotations

import pickle

import pytest

from cvtrainer.core.durations import Duration, Unit, parse_duration
from cvtrainer.core.errors import ConfigErrors, Problem, RunFailed, UserError
from cvtrainer.core.naming import entry_name
from cvtrainer.core.seeds import mix, sample_seed, unit
from cvtrainer.core.tree import Mark, Origins, path_text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("cvtrainer.hooks.ProgressBarHook", "progress_bar"),
        ("cvtrainer.hooks:EMAHook", "ema"),
        ("LRSchedulerHook", "lr_scheduler"),
        ("DDPHook", "ddp"),
        ("cvtrainer.logger.WandBLogger", "wandb"),
        ("TensorBoardLogger", "tensorboard"),
        ("JsonlLogger", "jsonl"),
        ("apps/x/hooks.py:MyHook", "my"),
        ("Hook", "hook"),
        ("progress_bar", "progress_bar"),
        ("ColorJitter", "color_jitter"),
        ("AccuracyMeter", "accuracy"),
    ],
)
def test_entry_names(kind: str, name: str) -> None:
    assert entry_name(kind) == name


def test_seeds_depend_on_every_counter_and_on_nothing_else() -> None:
    seeds = {
        sample_seed(seed, epoch, position, place)
        for seed in range(4)
        for epoch in range(4)
        for position in range(50)
        for place in range(4)
    }
    assert len(seeds) == 4 * 4 * 50 * 4
    assert mix(1, 2) != mix(2, 1)
    assert mix(0) != mix(0, 0)
    assert mix(-1) != mix(1)
    assert sample_seed(7, 3, 1_000_000, 2) == 4354080768943154873


def test_units_are_even() -> None:
    values = [unit(mix(3, count)) for count in range(4000)]
    assert all(0 <= value < 1 for value in values)
    tenths = [sum(int(value * 10) == part for value in values) for part in range(10)]
    assert min(tenths) > 320
    assert max(tenths) < 480


@pytest.mark.seed("S0-18")
@pytest.mark.parametrize(
    ("written", "steps"),
    [
        (3, 300),
        ("90ep", 9000),
        ("0.5ep", 50),
        ("1 epoch", 100),
        ("20000st", 20000),
        ("10 steps", 10),
        ("5%", 500),
        ("0.001%", 1),
        (0, 0),
        ("12", 1200),
    ],
)
def test_durations_become_steps(written: object, steps: int) -> None:
    assert parse_duration(written).to_steps(steps_per_epoch=100, total_steps=10_000) == steps


@pytest.mark.parametrize(
    "written", ["", "ep", "-1ep", "5 parsecs", "1.5st", "101%", True, None, [1]]
)
def test_no_durations(written: object) -> None:
    with pytest.raises(UserError) as caught:
        parse_duration(written)
    assert "\n" not in str(caught.value)


def test_a_share_needs_the_length_of_the_run() -> None:
    assert str(parse_duration("5%")) == "5%"
    assert parse_duration("500st") == Duration(500, Unit.STEPS)
    with pytest.raises(UserError, match="share of the run"):
        parse_duration("5%").to_steps(steps_per_epoch=10)


def test_problems_read_as_one_line_each_in_file_order() -> None:
    errors = ConfigErrors(
        [
            Problem("b", "is wrong", None, Mark("x.yaml", 10, 1)),
            Problem("a.lr", "AdamW takes no such argument", "lr", Mark("x.yaml", 9, 7)),
            Problem("b", "is wrong", None, Mark("x.yaml", 10, 1)),
        ]
    )
    assert str(errors).splitlines() == [
        "x.yaml:9:7  a.lr: AdamW takes no such argument. Did you mean lr?",
        "x.yaml:10:1  b: is wrong",
    ]


def test_a_user_error_says_where_what_and_what_to_do() -> None:
    error = UserError("no such file", where="a.yaml", todo="Look again.")
    assert str(error) == "a.yaml: no such file. Look again."


def test_origins_move_with_what_they_describe() -> None:
    origins = Origins()
    for line, path in enumerate([("a", 0, "x"), ("a", 1, "x"), ("a", 2, "x")], start=1):
        origins.set(path, value=Mark("f", line))
    origins.close_gap(("a", 0))
    assert origins.value(("a", 0, "x")) == Mark("f", 2)
    assert origins.value(("a", 2, "x")) is None
    origins.move(("a", 1), ("b", "c"))
    assert origins.value(("b", "c", "x")) == Mark("f", 3)
    assert origins.value(("a", 1, "x")) is None
    copied = origins.copy()
    copied.set(("b",), key=Mark("g", 1))
    assert origins.key(("b",)) is None
    assert origins.nearest(("b", "c", "x", "y")) == Mark("f", 3)


def test_paths_name_list_entries() -> None:
    data = {"stages": [{"name": "train", "hooks": ["EMAHook", {"type": 3}]}]}
    assert path_text(("stages", 0, "hooks", 0), data) == "stages.train.hooks.ema"
    assert path_text(("stages", 0, "hooks", 1, "type"), data) == "stages.train.hooks.1.type"


@pytest.mark.parametrize(
    "error",
    [
        UserError("it is wrong", where="here", todo="Do this."),
        RunFailed("no more"),
        ConfigErrors([Problem("a.b", "no such key", "a.c", Mark("f", 1))]),
    ],
)
def test_errors_travel_between_processes(error: UserError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
