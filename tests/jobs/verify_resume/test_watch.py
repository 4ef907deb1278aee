"""What a watched stream tells, and what it lets pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from cvtrainer.jobs.verify_resume.moments import Moments
from cvtrainer.jobs.verify_resume.orders import Orders, Trace, read_trace
from cvtrainer.jobs.verify_resume.watch import Watch
from tests.toy import BatchList, batches


def test_data_that_is_looked_at_before_training_is_not_part_of_it(tmp_path: Path) -> None:
    """As a stage does that rounds; a resumed one does not look again."""
    trace = Trace(tmp_path / "trace")
    watch = Watch(Orders("", [], "", "", steps=3), trace, Moments(trace))
    watch.trainer = cast(Any, object())  # of the stage before
    stream = watch.adapt_streams({"train": BatchList(batches(5))})["train"]
    watch.lengths.of_stage(1, 5, epochs=1)
    assert len(list(stream.epoch(1))) == 3
    assert read_trace(tmp_path / "trace") == []
