"""Values of the running stage that a config asks for: read along paths, never run as Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import AccumulateHook, EMAHook, LoggerHook
from cvtrainer.logger import FileLogger
from cvtrainer.meters import AccuracyMeter, LossMeter
from tests.hooks.test_logger_hook import trained
from tests.toy import batches, new_run, toy_trainer


def logged(item: Any) -> float | None:
    kept = trained(EMAHook(), LoggerHook(4, log_items={"item": item}), train=batches(6))
    return kept.records[0].values.get("item")


@pytest.mark.seed("S3-62")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer.param_groups.0.lr", 0.1),
        ("optimizer.param_groups[0]['lr']", 0.1),
        ("optimizers.main.param_groups.0.betas.1", 0.999),
        ("epoch", 1),
        ("samples", 20),
        ("hooks.ema.updates", 4),
        ("trainer.clock.batch", 4),
        ("-clock.step", -4),
    ],
)
def test_paths(path: str, value: float) -> None:
    assert logged(path) == pytest.approx(value)


@pytest.mark.seed("S3-63")
@pytest.mark.parametrize(
    "path",
    ["meters['accuracy'].avg", 'meters["accuracy"].avg', "meters.accuracy", "meters.accuracy.avg"],
)
def test_meters_by_index(path: str) -> None:
    kept = trained(LoggerHook(4, log_items={"item": path}), train=batches(6))
    values = kept.records[0].values
    assert values["item"] == values["train/accuracy"]


@pytest.mark.seed("S3-64")
@pytest.mark.parametrize(
    ("item", "there"),
    [
        ("meters.get('accuracy', None) and meters['accuracy'].avg", True),
        ("meters.get('x', None) and meters['x'].avg", False),
        ("meters.x.avg or meters.accuracy.avg", True),
        ("meters['x'].avg", False),
        ("optimizer.param_groups.7.lr", False),
        ("not meters.get('x')", True),
    ],
)
def test_small_expressions_give_a_value_or_none(item: str, there: bool) -> None:
    assert (logged(item) is not None) == there


@pytest.mark.seed("S3-64")
def test_a_function_is_asked() -> None:
    assert logged(lambda stage: stage.step * 10) == 40
    assert logged(lambda stage: None) is None


@pytest.mark.seed("S3-64")
@pytest.mark.parametrize(
    "item",
    [
        "__import__('os').system('true')",
        "model.train()",
        "meters.get('x', __import__('os'))",
        "trainer.__class__",
        "trainer._networks",
        "[one for one in meters]",
        "(lambda: 1)()",
        "os.environ",
        "meters[",
        "meters.get(key='x')",
        "f'{meters}'",
    ],
)
def test_what_is_no_path_is_one_line_before_training(item: str) -> None:
    with pytest.raises(UserError, match=r"hooks\.logger\.log_items\.odd: "):
        LoggerHook(log_items={"odd": item})


@pytest.mark.seed("S3-59", "S3-60", "S3-61", "S3-62")
def test_lines_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    run, logger = new_run(tmp_path), FileLogger(log_dir=str(tmp_path / "logs"))
    logger.open(run, None)
    hook = LoggerHook(100, log_items={"samples": "samples", "lr0": "optimizer.param_groups.0.lr"})
    toy_trainer(
        [hook],
        meters=[LossMeter(), AccuracyMeter()],
        train=batches(250),
        val=False,
        settings=StageSettings(writers=(logger,)),
    ).train(1)
    logger.close()
    lines = (tmp_path / "logs" / "train.log").read_text().splitlines()[1:]
    form = r"train +epoch 1 +step (\d+) +loss [\d.]+ +accuracy [\d.]+ .*samples (\S+) +lr0 0\.1000"
    found = [re.search(form, line) for line in lines]
    assert [one and one[1] for one in found] == ["100", "200", "250"]
    assert found[0] is not None
    assert found[0][2].startswith("500")


@pytest.mark.seed("S3-59")
def test_a_line_per_so_many_steps_also_where_batches_make_steps() -> None:
    kept = trained(AccumulateHook(3), LoggerHook(2), train=batches(14), val=False)
    assert kept.steps("train") == [2, 4, 5]
