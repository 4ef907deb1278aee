"""A process that trains trials one after another: `python -m cvtrainer.jobs.tune.worker`.

Orders come in as lines of JSON, outcomes go out as such; whatever else is printed goes to the log
file that the first argument names. When the process that gives the orders is gone, or says so, the
trial under way stops at its next border, saves and is left to be taken over.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import torch

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.experiment import Surroundings
from cvtrainer.jobs.own_folder import into_own_folder
from cvtrainer.jobs.resume import AUTO
from cvtrainer.jobs.train import train_otherwise
from cvtrainer.jobs.tune.study import StudyFile
from cvtrainer.jobs.tune.sweep_hook import SweepHook

Ending = Literal["complete", "pruned", "failed", "interrupted"]


@dataclass(frozen=True)
class Order:
    """One trial: the config, what is set in it, where it runs, and what is reported where."""

    number: int
    config: str | dict[str, Any]
    overrides: list[str]
    folder: str
    metric: str
    storage: str
    pruner: Any
    direction: str


@dataclass(frozen=True)
class Outcome:
    """How a trial ended; the value is the best of its evaluations."""

    number: int
    ending: Ending
    value: float | None = None
    reason: str = ""


def main() -> int:
    """Take orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = open(sys.argv[1], "a", encoding="utf-8")  # noqa: SIM115 (for as long as this process)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    _hold(log)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    orders: queue.Queue[Order | None] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while (order := orders.get()) is not None:
        print(f"trial {order.number}: {' '.join(order.overrides)}", file=sys.stderr, flush=True)
        outcome = carry_out(order, place=int(sys.argv[2]))
        answers.write(json.dumps(vars(outcome)) + "\n")
        answers.flush()
        if outcome.ending in ("failed", "interrupted"):
            return 0  # what a failure leaves behind in a process harms nobody else
    return 0


def _listen(orders: queue.Queue[Order | None]) -> None:
    """Pass orders on; at the end of them a trial under way is told to stop."""
    for line in sys.stdin:
        orders.put(Order(**json.loads(line)))
    orders.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


def _hold(log: IO[str]) -> None:
    """Whoever wants to know whether this process still works finds its log locked."""
    try:
        import fcntl
    except ImportError:  # a system without file locks
        return
    fcntl.flock(log, fcntl.LOCK_EX)


def carry_out(order: Order, *, place: int = 0) -> Outcome:
    """Train one trial as that one of the processes; never raises."""
    try:
        return _train(order, place)
    except KeyboardInterrupt:
        return Outcome(order.number, "interrupted", reason="interrupted")
    except UserError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    print(f"trial {order.number} failed: {reason}", file=sys.stderr, flush=True)
    return Outcome(order.number, "failed", reason=" ".join(reason.split()))


def _train(order: Order, place: int) -> Outcome:
    study = StudyFile(Path(order.storage), pruner=order.pruner)
    compiled = compile_config(order.config, order.overrides, purpose="train")
    config: dict[str, Any] = {**into_own_folder(compiled.resolved), "dir": order.folder}
    config["device"] = own_device(str(config["device"]), place, torch.cuda.device_count())
    hook = SweepHook(
        order.metric,
        config["stages"][-1]["name"],
        lambda reports: study.report(order.number, reports),
    )

    def adapt(around: Surroundings) -> None:
        around.adapt_hooks = lambda hooks: [*hooks, hook]

    known = (Path(order.folder) / "run.json").is_file()
    train_otherwise(replace(compiled, resolved=config), adapt, resume=AUTO if known else None)
    value = best_of(hook.values, order.direction)
    if value is None:
        return Outcome(order.number, "failed", reason=f"{order.metric} was never a number")
    return Outcome(order.number, "pruned" if hook.pruned else "complete", value)


def own_device(device: str, place: int, gpus: int) -> str:
    """The processes of a sweep take the GPUs in turn, unless the config names one."""
    return f"cuda:{place % gpus}" if gpus > 1 and device in ("auto", "cuda") else device


def best_of(values: list[float], direction: str) -> float | None:
    """The best number among them."""
    numbers = [value for value in values if math.isfinite(value)]
    if not numbers:
        return None
    return max(numbers) if direction == "maximize" else min(numbers)


def order_line(order: Order | Mapping[str, Any]) -> str:
    """How an order travels."""
    return json.dumps(order if isinstance(order, Mapping) else vars(order)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
