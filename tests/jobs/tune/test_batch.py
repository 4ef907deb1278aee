"""The largest batch: the search by itself, and real tries in fresh processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.jobs.tune.batch import BatchSize, memory_size, run_apart, tune_batch
from cvtrainer.jobs.tune.batch_search import Answer, Try, find_largest
from cvtrainer.jobs.tune.batch_try import Request, attempt, is_out_of_memory
from cvtrainer.jobs.tune.memory import available_bytes, peak_bytes, resident_bytes
from tests.project import change, enter_project

HOG = '''
from cvtrainer.hooks.base import BaseHook

MiB = 1 << 20


class HogHook(BaseHook):
    """Holds memory in proportion to the batch, while a step is made or while it is evaluated."""

    def __init__(self, mib_per_sample: int = 40, phase: str = "train") -> None:
        self.size = mib_per_sample * MiB
        self.phase = phase
        self.held = None

    def before_step(self, stage):
        if stage.phase == self.phase:
            self.held = bytearray(b"x") * (self.size * len(stage["batch"]["meta"]["index"]))

    def before_forward(self, stage):
        self.held = None
'''


def searched(
    limit: int, *, start: int = 1, most: int = 10**9, confirm: int | None = None
) -> tuple[Answer | None, list[tuple[int, bool]]]:
    """The search where sizes up to the limit fit, in a confirmation up to another one."""
    tried: list[tuple[int, bool]] = []

    def attempt(size: int, confirming: bool) -> Try:
        tried.append((size, confirming))
        bound = confirm if confirming and confirm is not None else limit
        return Try(size, "fits" if size <= bound else "out of memory")

    return find_largest(attempt, start=start, most=lambda: most), tried


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 16, 23, 100, 500, 777])
@pytest.mark.parametrize("start", [1, 32, 1024])
def test_the_answer_fits_and_one_grain_more_does_not(limit: int, start: int) -> None:
    answer, tried = searched(limit, start=start)
    assert answer is not None
    grain = max(1, (1 << (answer.batch.bit_length() - 1)) // 16)
    assert answer.batch <= limit < answer.batch + grain
    assert tried[-1] == (answer.batch, True)
    assert not answer.all_there_is
    assert len({size for size, _ in tried}) <= 20


def test_what_fails_is_tried_once_more_and_then_believed() -> None:
    _, tried = searched(6, start=4)
    short = [size for size, confirming in tried if not confirming]
    assert short == [4, 8, 8, 6, 7, 7]
    failing = {8: 1}

    def attempt(size: int, confirming: bool) -> Try:
        if failing.get(size, 0):
            failing[size] -= 1
            return Try(size, "out of memory")
        return Try(size, "fits")

    assert find_largest(attempt, start=8, most=lambda: 16) == Answer(16, True)


def test_an_answer_that_is_not_confirmed_gives_way_to_the_next_smaller() -> None:
    answer, tried = searched(100, confirm=90)
    assert answer is not None
    assert answer.batch in (88, 90)
    assert (answer.batch, True) in tried
    assert searched(100, confirm=0)[0] is None


def test_nothing_larger_than_asked_is_tried() -> None:
    answer, tried = searched(10**6, start=4, most=50)
    assert answer == Answer(50, True)
    assert max(size for size, _ in tried) == 50
    assert searched(0)[0] is None


def test_memory_is_measured() -> None:
    before = peak_bytes()
    block = bytearray(b"x") * (64 << 20)
    after, held = peak_bytes(), resident_bytes(__import__("os").getpid())
    assert before is not None
    assert after is not None
    assert held is not None
    assert available_bytes() is not None
    assert after >= held >= len(block)
    assert memory_size("2GiB") == 2 << 30
    assert memory_size(None) is None
    with pytest.raises(UserError, match="--memory"):
        memory_size("much")


def test_only_a_lack_of_memory_counts_as_one() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 52)
    assert is_out_of_memory(caught.value)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory with a hook that takes memory."""
    return enter_project(tmp_path, monkeypatch, hog=HOG)


def request(toy: Path, **more: object) -> Request:
    words = {"config": str(toy), "overrides": [], "stage": "train", "steps": 4, "evaluations": 1}
    return Request(**{**words, **more})  # type: ignore[arg-type]


def test_a_try_trains_evaluates_and_leaves_nothing(toy: Path) -> None:
    report = attempt(request(toy))
    assert report.problem == ""
    assert report.samples == 18
    assert report.images_per_s is not None
    assert report.peak_bytes is not None
    assert not Path("runs").exists()
    assert not Path("checkpoints").exists()


def test_other_errors_are_told_as_themselves(toy: Path) -> None:
    """What does not fit in one line, a mistake in own code with its traceback, once."""
    report = attempt(request(toy, overrides=["model.num_classes=2"]))
    assert "the data has 3 classes" in report.problem
    assert not report.trace
    model = toy.parent / "model.py"
    model.write_text(model.read_text().replace("return self.head", "return [][0] + self.head"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "apps"]:
        del sys.modules[name]
    report = attempt(request(toy))
    assert "IndexError" in report.problem
    assert "Traceback" in report.trace
    told: list[str] = []
    with pytest.raises(RunFailed, match="IndexError"):
        tune_batch(toy, say=told.append)
    assert sum("Traceback" in text for text in told) == 1
    with pytest.raises(UserError, match="there is no stage"):
        tune_batch(toy, stage="other", say=told.append)


def test_a_process_that_holds_too_much_is_ended(toy: Path) -> None:
    change(toy, hooks=[{"type": "apps.toy.hog.HogHook", "kwargs": {"mib_per_sample": 500}}])
    report = run_apart(request(toy), usable=1500 << 20)
    assert report.out_of_memory
    assert report.peak_bytes is not None
    assert report.peak_bytes > 1500 << 20


@pytest.mark.long
def test_the_largest_that_fits_a_limit_is_found_and_confirmed(toy: Path) -> None:
    change(toy, hooks=[{"type": "apps.toy.hog.HogHook", "kwargs": {"mib_per_sample": 100}}])
    base = attempt_base(toy)
    limit = int((base + (100 << 20) * 3.5) / 0.95)
    start = "dataloader.train.dataloader_args.batch_size=2"
    found = tune_batch(toy, overrides=[start], memory=limit, say=quiet)
    assert found.answer is not None
    assert found.answer.batch in (2, 3)
    assert found.tries[-1].note == "to confirm"
    failed = [one.batch for one in found.tries if one.verdict != "fits"]
    assert len(failed) == 2 * len(set(failed)) > 0
    assert found.fastest is not None
    word = found.override(found.answer.batch)
    split = compile_config(toy, [word]).resolved["stages"][0]["dataloader"]["train"]
    assert split["dataloader_args"]["batch_size"] == found.answer.batch


quiet: Callable[[str], None] = str.strip


def attempt_base(toy: Path) -> int:
    """What a process holds without the hog."""
    report = run_apart(request(toy, overrides=["hooks.hog.mib_per_sample=0"]), None)
    assert report.peak_bytes is not None
    return report.peak_bytes


def test_the_fastest_is_one_that_fits() -> None:
    found = BatchSize("train", False, None)
    assert found.fastest is None
    found.tries = [Try(8, "fits", 1, 90.0), Try(16, "fits", 1, 70.0), Try(32, "out of memory")]
    assert found.fastest == found.tries[0]
