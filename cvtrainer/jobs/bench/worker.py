"""The process of one artefact: opens it, then measures a block of calls at each order.

Orders and results are lines of JSON; what a runtime prints goes elsewhere. Nothing is imported that
a prediction from a package does not need, so memory is what the artefact costs there.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from cvtrainer.deploy.contract import ARRAYS, Contract
from cvtrainer.deploy.runtime.decoded import Decoded
from cvtrainer.deploy.runtime.runner import Runner, runner_of
from cvtrainer.jobs.tune.memory import peak_bytes, resident_bytes
from cvtrainer.telling.kinds import telling_of
from cvtrainer.telling.operating import operated

_SEED = 0
_SIDE = 224
"""Of pictures, where the contract leaves it free."""


def main() -> int:
    """Until there are no more orders."""
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        runner, contract = _open(json.loads(sys.stdin.readline()), results)
        for line in sys.stdin:
            _tell(results, _measured(runner, contract, json.loads(line)))
    except Exception as error:  # whatever a runtime makes of a file is what is told of it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        _tell(results, {"error": reason})
        return 1
    return 0


def _open(told: dict[str, Any], results: TextIO) -> tuple[Runner, Contract]:
    path = Path(told["path"])
    contract = Contract.of_plain(told["contract"], str(path))
    before, begin = resident_bytes(os.getpid()), time.perf_counter()
    reading = operated(telling_of(contract.reading, str(path)), contract.operating, str(path))
    runner = Decoded(runner_of(path, contract, threads=int(told["threads"])), reading)
    took = (time.perf_counter() - begin) * 1000
    _tell(results, {"before": before, "opened": resident_bytes(os.getpid()), "open_ms": took})
    return runner, contract


def _measured(runner: Runner, contract: Contract, order: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each call, until there are enough or the time is over."""
    rows = _inputs(contract, int(order["batch"]))
    for _ in range(order["warm"]):
        runner(rows)
    found: list[float] = []
    gc.collect()
    gc.disable()
    end = time.perf_counter() + order["seconds"]
    while len(found) < order["runs"]:
        begin = time.perf_counter_ns()
        runner(rows)
        found.append((time.perf_counter_ns() - begin) / 1e6)
        if time.perf_counter() > end:
            break
    gc.enable()
    return {"ms": found, "peak": peak_bytes()}


def _inputs(contract: Contract, batch: int) -> NDArray[Any]:
    """Noise; how long a network takes hardly depends on what it sees. Whole numbers in arrays name
    words or kinds, of which there is always the first."""
    lengths = contract.example_shape(_SIDE)
    if contract.takes == ARRAYS and np.dtype(contract.input.dtype).kind != "f":
        return np.zeros((batch, *lengths), contract.input.dtype)
    draw, dtype = np.random.default_rng(_SEED), np.dtype(contract.input.dtype)
    if dtype.kind in "ui":
        return draw.integers(0, 256, (batch, *lengths)).astype(dtype)
    return draw.standard_normal((batch, *lengths)).astype(dtype)


def _tell(results: TextIO, told: dict[str, Any]) -> None:
    results.write(f"{json.dumps(told)}\n")
    results.flush()


if __name__ == "__main__":
    sys.exit(main())
