"""One batch size in a fresh process: `python -m cvtrainer.jobs.tune.batch_try`.

What to try comes in as JSON, what it took goes out as such. Out of memory is an answer; any other
exception is told as what it is.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.engine.few_batches import FewBatches
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs.tune.memory import peak_bytes
from cvtrainer.jobs.tune.subject import built, find_subject
from cvtrainer.protocols import Stream

_WARM_STEPS = 2
_GPU_SHARE = 0.95
"""Of the free memory of a GPU; the rest is the margin."""


@dataclass(frozen=True)
class Request:
    """The size to try; `evaluations` are batches of val. `limit_bytes` binds GPUs only."""

    config: str | dict[str, Any]
    overrides: list[str]
    stage: str
    steps: int
    evaluations: int
    limit_bytes: int | None = None


@dataclass
class Report:
    """What it took. `problem` is one line; `trace` is given where it is nobody's known mistake."""

    peak_bytes: int | None = None
    images_per_s: float | None = None
    samples: int = 0
    out_of_memory: bool = False
    problem: str = ""
    trace: str = ""


class _Watch(BaseHook):
    """Counts pictures and time, once the first steps are over."""

    rank: ClassVar[Rank] = Rank.ADVANCE
    name = "tune_batch"

    def __init__(self) -> None:
        self._began = 0.0
        self._before = 0
        self.rate: float | None = None

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train":
            return
        clock = stage.clock
        if stage.trainer.plan.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if clock.batches <= _WARM_STEPS:
            self._began, self._before = now, clock.samples
        elif now > self._began:
            self.rate = (clock.samples - self._before) / (now - self._began)


def main() -> int:
    """Try, answer."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    report = attempt(Request(**json.load(sys.stdin)))
    answer.write(json.dumps(vars(report)))
    answer.close()
    return 0


def attempt(request: Request) -> Report:
    """Train a few steps, evaluate, and say what it took; never raises."""
    report, watch = Report(), _Watch()
    try:
        _run(request, report, watch)
    except UserError as error:
        report.problem = str(error)
    except Exception as error:
        report.out_of_memory = is_out_of_memory(error)
        if not report.out_of_memory:
            report.problem = f"{type(error).__name__}: {error}"
            report.trace = traceback.format_exc()
    report.images_per_s = watch.rate
    on_gpu = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    report.peak_bytes = on_gpu or peak_bytes()
    return report


def _run(request: Request, report: Report, watch: _Watch) -> None:
    subject = find_subject(request.config, request.overrides, stage=request.stage)

    def few(streams: dict[str, Stream]) -> dict[str, Stream]:
        report.samples = streams["train"].samples
        if "val" in streams:
            streams["val"] = FewBatches(streams["val"], request.evaluations)
        return streams

    _bind_gpu(str(subject.config["device"]), request.limit_bytes)
    phases = ("train", "val") if request.evaluations else ("train",)
    steps = request.steps
    with built(subject, hooks=[watch], max_steps=steps, phases=phases, streams=few) as trainer:
        trainer.train(math.ceil(steps / trainer.steps_per_epoch))
        if "val" in trainer.streams:
            trainer.evaluate("val")


def _bind_gpu(device: str, limit: int | None) -> None:
    """Let this process have only so much of the GPU that a margin is left."""
    if device == "cpu" or not torch.cuda.is_available():
        return
    place = int(device.partition(":")[2] or 0)
    free, total = torch.cuda.mem_get_info(place)
    usable = _GPU_SHARE * (free if limit is None else min(limit, free))
    torch.cuda.set_per_process_memory_fraction(min(usable / total, 1.0), place)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine's memory was too small, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text.lower()
    )


if __name__ == "__main__":
    sys.exit(main())
