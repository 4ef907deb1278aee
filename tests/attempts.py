"""Many short runs of the command line without importing torch for each of them.

`Attempts` starts one process that imports the library once; it forks for every attempt, so that
an attempt is a process of its own that can be killed at any moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


class Attempts:
    """A place to start attempts from; each attempt's output goes to `told.txt` in its folder."""

    def __enter__(self) -> Attempts:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attempts"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, folder: Path, words: Sequence[str]) -> int:
        """Begin an attempt; its process number."""
        return int(self._ask({"folder": str(folder), "words": list(words)}))

    def verify(self, folder: Path, orders: Path, output: Path) -> int:
        """Carry out orders of verify-resume; how it ended."""
        asked = {"folder": str(folder), "orders": str(orders), "told": str(output)}
        return self.wait(int(self._ask(asked)))

    def wait(self, number: int) -> int:
        """How the attempt ended: its exit code, or the negative number of a signal."""
        return int(self._ask({"wait": number, "most": None}))

    def ended(self, number: int) -> bool:
        """Whether it is over, without waiting; afterwards `wait` still tells how."""
        return bool(self._ask({"ended": number}))

    def run(self, folder: Path, words: Sequence[str]) -> int:
        return self.wait(self.start(folder, words))

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _serve() -> None:
    import torch._dynamo  # noqa: F401
    import torchvision  # noqa: F401 (what all attempts need)

    import cvtrainer.jobs.train
    import cvtrainer.jobs.verify_resume.child  # noqa: F401

    over: dict[int, int] = {}
    for line in sys.stdin:
        what = json.loads(line)
        if "folder" in what:
            answer: Any = _fork(what)
        elif "ended" in what:
            number, status = (0, 0)
            if what["ended"] not in over:
                number, status = os.waitpid(what["ended"], os.WNOHANG)
            if number:
                over[number] = os.waitstatus_to_exitcode(status)
            answer = what["ended"] in over
        else:
            number = what["wait"]
            if number not in over:
                over[number] = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
            answer = over.pop(number)
        print(json.dumps(answer), flush=True)


def _fork(what: dict[str, Any]) -> int:
    number = os.fork()
    if number:
        return number
    os.chdir(what["folder"])
    sys.path.insert(0, what["folder"])
    told = os.open(what.get("told", "told.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    try:
        os._exit(_code(what))
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _code(what: dict[str, Any]) -> int:
    if "orders" in what:
        from cvtrainer.jobs.verify_resume import child

        return child.main(what["orders"])
    from cvtrainer.cli import main

    return main(what["words"])


if __name__ == "__main__":
    _serve()
